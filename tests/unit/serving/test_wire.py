"""The v2 protocol's bytes, both ways."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from libs.serving.bundle import TensorSpec
from libs.serving.errors import RequestError
from libs.serving.wire import DTYPES, HEADER_LENGTH, InferRequest, decode_request, encode_answer, encode_bytes

SPEC = TensorSpec(name="input", datatype="FP32", shape=[-1, 1, 8, 8])
OUT = TensorSpec(name="logits", datatype="FP32", shape=[-1, 3])
LABELS = ["dark", "middle", "bright"]
ROWS = np.linspace(-1, 1, 3 * 64, dtype="<f4").reshape(3, 1, 8, 8)


def json_request(rows: np.ndarray = ROWS, datatype: str = "FP32", **extra: object) -> dict[str, object]:
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": datatype, "data": rows.ravel().tolist()}
    return {"inputs": [tensor], **extra}


def binary_request(rows: np.ndarray = ROWS, datatype: str = "FP32", **parameters: object) -> tuple[bytes, str]:
    tensor = {
        "name": "input",
        "shape": list(rows.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": rows.nbytes, **parameters},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + rows.tobytes(), str(len(head))


def problem(body: object, length: str | None = None) -> tuple[str, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestError) as refused:
        decode_request(content, length, SPEC, 32)
    return refused.value.problems[0].pointer, refused.value.problems[0].message


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@given(data=st.data())
def test_json_and_binary_give_equal_arrays(datatype: str, data: st.DataObject) -> None:
    finite = {"allow_nan": False, "allow_infinity": False} if DTYPES[datatype].kind == "f" else {}
    rows = data.draw(hnp.arrays(DTYPES[datatype], (2, 3), elements=finite))
    spec = TensorSpec(name="input", datatype=datatype, shape=[-1, 3])

    from_json = decode_request(json.dumps(json_request(rows, datatype)).encode(), None, spec, 8).rows
    from_bytes = decode_request(*binary_request(rows, datatype), spec, 8).rows

    assert from_json.dtype == from_bytes.dtype == DTYPES[datatype]
    assert np.array_equal(from_json, rows)
    assert np.array_equal(from_bytes, rows)


def test_nested_data_is_taken() -> None:
    tensor = {"name": "input", "shape": [3, 1, 8, 8], "datatype": "FP32", "data": ROWS.tolist()}
    assert np.array_equal(decode_request(json.dumps({"inputs": [tensor]}).encode(), None, SPEC, 8).rows, ROWS)


def _changed(**changes: object) -> dict[str, object]:
    return {"inputs": [{**json_request(ROWS[:1])["inputs"][0], **changes}]}


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        (_changed(name="image"), "/inputs", "one input, 'input'"),
        (_changed(datatype="FP16"), "/inputs/0/datatype", "takes FP32"),
        (_changed(datatype="BYTES"), "/inputs/0/datatype", "takes FP32"),
        (_changed(shape=[1, 1, 8, 9]), "/inputs/0/shape", "takes [-1, 1, 8, 8]"),
        (_changed(shape=[1, 64]), "/inputs/0/shape", "takes [-1, 1, 8, 8]"),
        (_changed(shape=[2, 1, 8, 8]), "/inputs/0/data", "shape says"),
        (_changed(shape=[0, 1, 8, 8], data=[]), "/inputs/0/shape/0", "1 to 32 rows"),
        (_changed(shape=[33, 1, 8, 8]), "/inputs/0/shape/0", "1 to 32 rows"),
        (_changed(shape=[-1, 1, 8, 8]), "/inputs/0/shape/0", "1 to 32 rows"),
        (_changed(shape=[1.5, 1, 8, 8]), "/inputs/0/shape/0", "integer"),
        (_changed(shape=[1] * 9), "/inputs/0/shape", "at most 8"),
        (_changed(data=["1.0"] * 64), "/inputs/0/data", "other things than numbers"),
        (_changed(data=[[1.0], [1.0, 2.0]]), "/inputs/0/data", "ragged"),
        (_changed(data=[1e300] * 64), "/inputs/0/data", "infinity"),
        (_changed(data=None), "/inputs/0/data", "missing"),
        (_changed(data="x" * 64), "/inputs/0/data", "missing"),
        (_changed(data=[None] * 64), "/inputs/0/data", "other things than numbers"),
        (_changed(data=[True] * 64), "/inputs/0/data", "other things than numbers"),
        (_changed(data=[10**400] * 64), "/inputs/0/data", "numbers"),
        (_changed(parameters={"binary_data_size": 256}), "/inputs/0/data", "not both"),
        ({"inputs": []}, "/inputs", "at least 1 item"),
        ({"inputs": json_request()["inputs"] * 2}, "/inputs", "got 'input', 'input'"),
        ({}, "/inputs", "required"),
        ([1], "", "JSON object"),
    ],
)
def test_a_wrong_json_request_is_told_where(body: object, pointer: str, message: str) -> None:
    found = problem(body)
    assert found[0] == pointer
    assert message in found[1]


@pytest.mark.parametrize("text", [b"", b"[", b'{"inputs": NaN}', b"\x89PNG", b"[" * 5000, b'{"a": "\xff"}'])
def test_what_is_not_json(text: bytes) -> None:
    assert "not JSON" in problem(text)[1]


def test_a_wrong_binary_request_is_told_where() -> None:
    body, length = binary_request()
    assert "bytes follow the JSON" in problem(body[:-4], length)[1]
    assert "bytes follow the JSON" in problem(body + b"1234", length)[1]
    for wrong in ("999999", "-5", "x", "0", "", "1" * 5000):
        assert "the body has" in problem(body, wrong)[1]
    assert "not JSON" in problem(body)[1]
    for size in (767, -1, "768", None, True, 10**30):
        message = problem(*binary_request(binary_data_size=size))[1]
        assert "takes 768 bytes" in message or "no input has binary_data_size" in message
    assert "NaN" in problem(*binary_request(np.full((1, 1, 8, 8), np.nan, "<f4")))[1]
    unannounced = json.dumps(json_request()).encode()
    assert "no input has" in problem(unannounced + b"1234", str(len(unannounced)))[1]


def test_numbers_a_type_cannot_hold_are_refused() -> None:
    spec = TensorSpec(name="input", datatype="UINT8", shape=[-1, 2])
    for data in ([256, 0], [-1, 0], [0.5, 0]):
        tensor = {"name": "input", "shape": [1, 2], "datatype": "UINT8", "data": data}
        with pytest.raises(RequestError, match="UINT8"):
            decode_request(json.dumps({"inputs": [tensor]}).encode(), None, spec, 8)


@given(st.binary(max_size=200), st.none() | st.integers(0, 250).map(str))
def test_any_bytes_are_answered_by_a_request_error(body: bytes, length: str | None) -> None:
    with pytest.raises(RequestError):
        decode_request(body, length, SPEC, 32)


def answer(output: np.ndarray, **request: object) -> tuple[dict, bytes]:
    asked = InferRequest.model_validate({**json_request(), **request})
    written = encode_answer(asked, OUT, output, LABELS, {"model_name": "m"})
    length = int(written.headers.get(HEADER_LENGTH, len(written.body)))
    return json.loads(written.body[:length]), written.body[length:]


def test_answers_are_json_or_binary() -> None:
    output = np.array([[1.5, -2, 0.1]], np.float32)
    plain, rest = answer(output)
    assert rest == b""
    assert np.array_equal(np.array(plain["outputs"][0]["data"], np.float32), output[0])
    head, raw = answer(output, parameters={"binary_data_output": True})
    assert np.frombuffer(raw, "<f4").tolist() == output[0].tolist()
    assert head["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}
    ]
    mixed = {
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "logits", "parameters": {"binary_data": False}}],
    }
    assert answer(output, **mixed)[1] == b""


def test_classification_texts_are_length_prefixed_when_binary() -> None:
    wish = {"outputs": [{"name": "logits", "parameters": {"classification": 1, "binary_data": True}}]}
    head, raw = answer(np.array([[0, 3, 1]], np.float32), **wish)
    assert head["outputs"][0]["datatype"] == "BYTES"
    assert raw == encode_bytes(["3.000000:1:middle"]) == b"\x11\x00\x00\x003.000000:1:middle"


def test_what_cannot_be_answered() -> None:
    output = np.array([[0, np.nan, 1]], np.float32)
    with pytest.raises(RequestError, match="not finite"):
        answer(output)
    assert np.isnan(np.frombuffer(answer(output, parameters={"binary_data_output": True})[1], "<f4")[1])
    with pytest.raises(RequestError, match="one output"):
        answer(output, outputs=[{"name": "probabilities"}])
    for count in (0, 4, "1", True):
        with pytest.raises(RequestError, match="from 1 to 3"):
            answer(output, outputs=[{"name": "logits", "parameters": {"classification": count}}])
