"""Model files on their way in: kept when they are ONNX or safetensors, refused when they may hold a pickle."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from libs.web.auth import Scope
from services.gateway.settings import GatewaySettings
from tests.integration.gateway.conftest import KeyMaker
from tests.support.bundles import make_bundle

RECIPE = {"channels": 1, "height": 8, "width": 8, "mean": [0.0], "std": [1.0]}


def upload(client: TestClient, name: str, content: bytes, **headers: str):
    sent = {"Content-Type": "application/octet-stream", **headers}
    return client.post("/v1/uploads", params={"name": name}, content=content, headers=sent)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """A model as ONNX and as safetensors."""
    make_bundle(tmp_path / "bundle")
    return {name: (tmp_path / "bundle" / f"model.{name}").read_bytes() for name in ("onnx", "safetensors")}


def leftovers(settings: GatewaySettings) -> list[Path]:
    return list((settings.platform.home / "incoming").glob("*"))


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_a_model_file_is_kept_under_its_kind(
    client: TestClient, files: dict[str, bytes], settings: GatewaySettings, kind: str
) -> None:
    left = settings.platform.home / "incoming" / "incoming-of-a-gateway-that-was-killed"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    os.utime(left, (1e9, 1e9))
    answer = upload(client, "whatever.dat", files[kind])
    assert (answer.status_code, answer.json()["kind"]) == (201, kind)
    assert answer.json()["size_bytes"] == len(files[kind])
    assert leftovers(settings) == []


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.pkl", "MODEL.CKPT", "model.bin"])
def test_a_pickle_is_refused_by_its_name_with_the_way_out(client: TestClient, name: str) -> None:
    answer = upload(client, name, b"")
    assert (answer.status_code, answer.json()["code"]) == (415, "import_refused")
    assert f"octavo convert {name}" in answer.json()["detail"]


def test_a_pickle_is_refused_by_its_content(client: TestClient, settings: GatewaySettings) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps({"a": 1}))
    for content in (pickle.dumps({"a": 1}), archive.getvalue()):
        answer = upload(client, "model.onnx", content)
        assert (answer.status_code, answer.json()["code"]) == (415, "import_refused")
        assert "octavo convert" in answer.json()["detail"]
    assert upload(client, "model.onnx", b"").status_code == 415
    assert leftovers(settings) == []


def test_an_import_names_an_upload_of_its_own_project(
    client: TestClient, files: dict[str, bytes], other_project: dict[str, str]
) -> None:
    config = {"artifact": upload(client, "a.onnx", files["onnx"]).json()["id"], "labels": ["a", "b"], "recipe": RECIPE}
    job = {"method": "import-onnx", "output_model": "mine", "config": config}
    assert client.post("/v1/jobs", json=job).status_code == 202
    unknown = {**job, "config": {**config, "artifact": str(uuid4())}}
    for answer in (client.post("/v1/jobs", json=unknown), client.post("/v1/jobs", json=job, headers=other_project)):
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/config/artifact"]


def test_an_upload_needs_the_scope(client: TestClient, make_headers: KeyMaker) -> None:
    assert upload(client, "a.onnx", b"", **make_headers(Scope.MODELS_READ)).status_code == 403


def test_a_file_sent_again_under_its_idempotency_key_is_one_upload(client: TestClient, files: dict[str, bytes]) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = (upload(client, "m.onnx", files["onnx"], **key) for _ in range(2))
    assert first.status_code == 201, first.text
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    for name, content in (("n.onnx", files["onnx"]), ("m.onnx", files["safetensors"])):
        assert upload(client, name, content, **key).json()["code"] == "idempotency_key_reused"
