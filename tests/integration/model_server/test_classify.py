"""A deployed bundle classifies pictures over HTTP."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from libs.serving.probabilities import softmax
from tests.support.serving import Register, picture

PNG = {"Content-Type": "image/png"}


def deploy(client: TestClient, name: str = "shades") -> None:
    assert client.post(f"/v2/repository/models/{name}/load").json()["state"] == "READY"


def test_a_picture_is_classified(client: TestClient, register: Register) -> None:
    version = register(labels=("dark", "middle", "bright"))
    deploy(client)

    answer = client.post("/v1/classify/shades?top_k=2", content=picture(250), headers=PNG)

    body = answer.json()
    assert answer.status_code == 200
    assert (body["model"], body["version"], body["digest"]) == ("shades", 1, version.digest)
    assert [one["label"] for one in body["predictions"]] == ["bright", "middle"]
    weight = np.linspace(-4, 4, 3)
    expected = softmax(weight * (250 / 255) - weight / 2)
    assert body["predictions"][0]["probability"] == pytest.approx(expected[2], abs=1e-6)
    for part in ("decode", "preprocess", "queue", "compute", "total"):
        assert f"{part};dur=" in answer.headers["Server-Timing"]


def test_the_temperature_softens_probabilities(client: TestClient, register: Register) -> None:
    register("sharp", temperature=1.0)
    register("soft", temperature=4.0)
    deploy(client, "sharp")
    deploy(client, "soft")

    def best(name: str) -> float:
        return client.post(f"/v1/classify/{name}", content=picture(255), headers=PNG).json()["predictions"][0]

    assert best("sharp")["probability"] == pytest.approx(softmax(np.array([-2.0, 2.0]))[1], abs=1e-6)
    assert best("soft")["probability"] == pytest.approx(softmax(np.array([-0.5, 0.5]))[1], abs=1e-6)
