"""A deployed bundle classifies pictures over HTTP."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.serving.probabilities import softmax
from services.model_server.app import make_app
from services.model_server.settings import ModelServerSettings
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


def test_what_a_deployment_was_asked_is_counted_by_how_it_ended(client: TestClient, register: Register) -> None:
    register()
    deploy(client)
    for content in (picture(250), picture(3), b"no picture"):
        client.post("/v1/classify/shades", content=content, headers=PNG)
    client.post("/v1/classify/unknown", content=picture(3), headers=PNG)
    client.get("/v2/models/shades/ready")

    text = client.get("/metrics").text

    project = f'project="{DEFAULT_PROJECT_ID}"'
    assert f'octavo_deployment_requests_total{{deployment="shades",outcome="ok",{project}}} 2.0' in text
    assert f'octavo_deployment_requests_total{{deployment="shades",outcome="refused",{project}}} 1.0' in text
    assert f'octavo_deployment_seconds_count{{deployment="shades",{project}}} 3.0' in text
    assert f'octavo_deployment_batch_rows_sum{{deployment="shades",{project}}} 2.0' in text
    assert "unknown" not in text


def test_the_temperature_softens_probabilities(client: TestClient, register: Register) -> None:
    register("sharp", temperature=1.0)
    register("soft", temperature=4.0)
    deploy(client, "sharp")
    deploy(client, "soft")

    def best(name: str) -> float:
        return client.post(f"/v1/classify/{name}", content=picture(255), headers=PNG).json()["predictions"][0]

    assert best("sharp")["probability"] == pytest.approx(softmax(np.array([-2.0, 2.0]))[1], abs=1e-6)
    assert best("soft")["probability"] == pytest.approx(softmax(np.array([-0.5, 0.5]))[1], abs=1e-6)


def test_wrong_pictures_are_refused_with_the_reason(client: TestClient, register: Register) -> None:
    register()
    deploy(client)

    def ask(content: bytes, media_type: str = "image/png") -> tuple[int, str, str]:
        answer = client.post("/v1/classify/shades", content=content, headers={"Content-Type": media_type})
        return answer.status_code, answer.json()["code"], answer.json()["detail"]

    assert ask(b"no picture")[:2] == (422, "bad_picture")
    assert ask(picture(5)[:40])[:2] == (422, "bad_picture")
    assert ask(b"")[:2] == (400, "empty_body")
    assert ask(picture(5), "application/json")[:2] == (415, "unsupported_media_type")
    status, code, detail = ask(bomb())
    assert (status, code) == (422, "bad_picture")
    assert "pixels" in detail


def test_a_body_over_the_limit_is_not_read(settings: ModelServerSettings, key: str, register: Register) -> None:
    register()
    small = settings.model_copy(update={"max_body_bytes": 1000})
    with TestClient(make_app(small), headers={"Authorization": f"Bearer {key}"}) as client:
        deploy(client)

        def endless() -> Iterator[bytes]:
            yield from (b"x" * 600 for _ in range(1000))

        for content in (b"x" * 1001, endless()):
            answer = client.post("/v1/classify/shades", content=content, headers=PNG)
            assert answer.status_code == 413
            assert "1000 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
def test_every_format_is_taken(client: TestClient, register: Register, file_format: str) -> None:
    register(size=16)
    deploy(client)
    answer = client.post("/v1/classify/shades", content=picture(250, 40, file_format), headers=PNG)
    assert answer.json()["predictions"][0]["label"] == "bright"


def test_an_unknown_model_is_named_with_what_looks_alike(client: TestClient, register: Register) -> None:
    register()
    deploy(client)
    answer = client.post("/v1/classify/shade", content=picture(5), headers=PNG)
    assert answer.status_code == 404
    assert answer.json()["detail"] == "No model is served as 'shade'. Did you mean 'shades'?"


def bomb() -> bytes:
    """A PNG of 10,000 x 10,000 px in 30 kB."""
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()
