"""The Open Inference Protocol over HTTP."""

import json
from uuid import uuid4

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.serving import Register, add_key

LENGTH = "Inference-Header-Content-Length"
ROWS = np.linspace(-1, 1, 3 * 64, dtype="<f4").reshape(3, 1, 8, 8)


@pytest.fixture
def served(client: TestClient, register: Register) -> TestClient:
    register(labels=("dark", "middle", "bright"))
    assert client.post("/v2/repository/models/shades/load").json() == {
        "name": "shades", "state": "READY", "version": "1"
    }  # fmt: skip
    return client


def json_request(rows: np.ndarray = ROWS, **extra: object) -> dict[str, object]:
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    return {"inputs": [tensor], **extra}


def binary_request(rows: np.ndarray = ROWS, **extra: object) -> tuple[bytes, dict[str, str]]:
    tensor = {
        "name": "input", "shape": list(rows.shape), "datatype": "FP32", "parameters": {"binary_data_size": rows.nbytes}
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor], **extra}).encode()
    return head + rows.tobytes(), {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}


def test_json_and_binary_give_equal_answers(served: TestClient) -> None:
    plain = served.post("/v2/models/shades/infer", json=json_request(id="7"))
    body, headers = binary_request(parameters={"binary_data_output": True})
    binary = served.post("/v2/models/shades/infer", content=body, headers=headers)

    answer = plain.json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("shades", "1", "7")
    assert len(answer["parameters"]["digest"]) == 64
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [3, 3])
    length = int(binary.headers[LENGTH])
    (described,) = json.loads(binary.content[:length])["outputs"]
    raw = np.frombuffer(binary.content[length:], "<f4")
    assert described["parameters"]["binary_data_size"] == len(raw) * 4 == 36
    assert raw.tolist() == output["data"]
    weight = np.linspace(-4, 4, 3)
    expected = ROWS.mean(axis=(1, 2, 3))[:, None] * weight - weight / 2
    assert raw.reshape(3, 3) == pytest.approx(expected, abs=1e-5)


def test_one_output_may_be_binary_while_the_input_is_json(served: TestClient) -> None:
    wish = {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}
    answer = served.post("/v2/models/shades/infer", json=json_request(**wish))
    assert len(answer.content) - int(answer.headers[LENGTH]) == 36


def test_classification_names_the_best(served: TestClient) -> None:
    wish = {"outputs": [{"name": "logits", "parameters": {"classification": 2}}]}
    (output,) = served.post("/v2/models/shades/infer", json=json_request(np.ones((1, 1, 8, 8)), **wish)).json()[
        "outputs"
    ]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    assert output["data"] == ["2.000000:2:bright", "0.000000:1:middle"]


def test_metadata_and_health(served: TestClient) -> None:
    assert served.get("/v2").json()["extensions"] == ["binary_tensor_data", "classification", "model_repository"]
    assert served.get("/v2/health/live").json() == {"live": True}
    assert served.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/shades", "/v2/models/shades/versions/1"):
        metadata = served.get(path).json()
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]}]
        assert metadata["parameters"]["labels"] == ["dark", "middle", "bright"]
    assert served.get("/v2/models/shades/ready").json() == {"name": "shades", "ready": True}
    assert served.post("/v2/models/shades/versions/1/infer", json=json_request()).status_code == 200
    assert served.get("/metrics").text.count("octavo_model_server_requests_total") > 1


def test_another_version_than_the_served_one_is_not_there(served: TestClient) -> None:
    answer = served.post("/v2/models/shades/versions/2/infer", json=json_request())
    assert answer.status_code == 404
    assert "serves version 1" in answer.json()["detail"]


def test_unloading_and_loading_again(served: TestClient) -> None:
    assert served.post("/v2/repository/index").json() == [
        {"name": "shades", "version": "1", "state": "READY", "reason": ""}
    ]
    assert served.post("/v2/repository/models/shades/unload").status_code == 202
    while served.post("/v2/repository/index").json():
        pass
    assert served.post("/v2/models/shades/infer", json=json_request()).status_code == 404
    assert served.post("/v2/repository/models/shades/load").json()["state"] == "READY"
    assert served.post("/v2/models/shades/infer", json=json_request()).status_code == 200


def test_errors_carry_the_protocols_error_member(served: TestClient) -> None:
    answer = served.get("/v2/models/shade")
    assert answer.status_code == 404
    problem = answer.json()
    assert problem["error"] == problem["detail"] == "No model is served as 'shade'. Did you mean 'shades'?"
    assert problem["code"] == "model_not_loaded"


def test_a_wrong_request_is_told_where(served: TestClient) -> None:
    tensor = json_request()["inputs"][0]
    answer = served.post("/v2/models/shades/infer", json={"inputs": [{**tensor, "shape": [3, 1, 8, 9]}]})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"] == [
        {"pointer": "/inputs/0/shape", "message": "the model takes [-1, 1, 8, 8] (-1: any), got [3, 1, 8, 9]",
         "location": "body"}
    ]  # fmt: skip
    answer = served.post("/v2/models/shades/infer", content=b"\x89PNG")
    assert answer.status_code == 422
    assert "not JSON" in answer.json()["error"]


def test_a_key_needs_the_scope_and_sees_its_project_alone(served: TestClient, engine: Engine) -> None:
    infer = {"Authorization": f"Bearer {add_key(engine, ['infer'])}"}
    assert served.post("/v2/models/shades/infer", json=json_request(), headers=infer).status_code == 200
    assert served.post("/v2/repository/models/shades/unload", headers=infer).status_code == 403
    assert served.post("/v2/repository/index", headers=infer).status_code == 403
    other = {"Authorization": f"Bearer {add_key(engine, ['admin'], uuid4())}"}
    assert served.get("/v2/models/shades", headers=other).status_code == 404
    assert served.post("/v2/repository/models/shades/load", headers=other).status_code == 404
    assert served.get("/v2/models/shades", headers={"Authorization": "Bearer oct_x_y"}).status_code == 401
    assert served.get("/v2/models/shades", headers={"Authorization": ""}).status_code == 401
