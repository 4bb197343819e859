"""Open Inference Protocol v2 on the wire: JSON tensors, and the binary tensor extension.

A binary body is JSON of `Inference-Header-Content-Length` bytes, followed by the raw little-endian buffers of those
inputs whose parameters have `binary_data_size`, in their order. Answers are binary where an output asks by
`binary_data`, or all of them by the request's `binary_data_output`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from libs.serving.bundle import TensorSpec
from libs.serving.errors import InputProblem, RequestError

HEADER_LENGTH = "Inference-Header-Content-Length"
DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
}


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InputTensor(_Wire):
    """One input of a request."""

    name: str = Field(max_length=256)
    shape: list[int] = Field(min_length=1, max_length=8)
    datatype: str = Field(max_length=16)
    parameters: dict[str, Any] = {}
    data: Any = None


class OutputWish(_Wire):
    """One output a request asks for."""

    name: str = Field(max_length=256)
    parameters: dict[str, Any] = {}


class InferRequest(_Wire):
    """The JSON part of a request."""

    id: str | None = Field(default=None, max_length=256)
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(min_length=1, max_length=16)
    outputs: list[OutputWish] = Field(default=[], max_length=16)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request that fits the model's signature; `rows` is [N, ...]."""

    request: InferRequest
    rows: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response body and what to say about it in headers."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def decode_request(body: bytes, header_length: str | None, spec: TensorSpec, max_rows: int) -> Decoded:
    """Read a request for a model with the one input `spec`.

    Args:
        header_length: value of `Inference-Header-Content-Length`, None when the body is all JSON.
        max_rows: largest first dimension.

    Raises:
        RequestError: with a pointer to each thing that is wrong.
    """
    json_part, buffers = _split(body, header_length)
    request = _parse(json_part)
    if len(request.inputs) != 1 or request.inputs[0].name != spec.name:
        names = ", ".join(repr(tensor.name) for tensor in request.inputs)
        raise _problem("/inputs", f"the model has one input, {spec.name!r}; got {names}")
    tensor = request.inputs[0]
    _check_signature(tensor, spec, max_rows)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        if buffers:
            raise _problem("", f"{len(buffers)} bytes follow the JSON, and no input has binary_data_size")
        return Decoded(request, _from_json_data(tensor))
    return Decoded(request, _from_buffer(tensor, size, buffers))


def encode_answer(
    request: InferRequest,
    spec: TensorSpec,
    output: NDArray[Any],
    labels: Sequence[str],
    described: dict[str, Any],
) -> Answer:
    """Write a response.

    Args:
        spec: the model's one output.
        output: [N, K].
        labels: of the K columns, for `classification`.
        described: `model_name`, `model_version` and `parameters`.

    Raises:
        RequestError: an output is asked for that the model has not, or JSON cannot carry its numbers.
    """
    default_binary = bool(request.parameters.get("binary_data_output", False))
    wishes = request.outputs or [OutputWish(name=spec.name)]
    tensors: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    for position, wish in enumerate(wishes):
        if wish.name != spec.name:
            raise _problem(f"/outputs/{position}/name", f"the model has one output, {spec.name!r}; got {wish.name!r}")
        binary = bool(wish.parameters.get("binary_data", default_binary))
        datatype, values = _wanted_values(wish, f"/outputs/{position}", spec, output, labels)
        tensors.append(_tensor(wish.name, datatype, values, buffers if binary else None))
    head = {**described, **({"id": request.id} if request.id else {}), "outputs": tensors}
    text = to_json(head)
    if not buffers:
        return Answer(text, "application/json", {})
    return Answer(text + b"".join(buffers), "application/octet-stream", {HEADER_LENGTH: str(len(text))})


def encode_bytes(values: Sequence[str]) -> bytes:
    """The raw form of a BYTES tensor: each element's length as 4 bytes, little-endian, then its content."""
    encoded = [value.encode() for value in values]
    return b"".join(len(value).to_bytes(4, "little") + value for value in encoded)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    plain = header_length.isascii() and header_length.isdigit() and len(header_length) < 16
    if not plain or not 0 < int(header_length) <= len(body):
        raise _problem("", f"{HEADER_LENGTH} is {header_length[:20]!r}, the body has {len(body)} bytes")
    length = int(header_length)
    return body[:length], memoryview(body)[length:]


def _parse(text: bytes) -> InferRequest:
    try:
        content = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        hint = f" For binary tensors send {HEADER_LENGTH}." if text[:1] != b"{" else ""
        raise _problem("", f"the body is not JSON: {error}.{hint}") from None
    if not isinstance(content, dict):
        raise _problem("", "the body must be a JSON object with inputs")
    try:
        return InferRequest.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        places = ("".join(f"/{step}" for step in one["loc"]) for one in found)
        raise RequestError(
            *(InputProblem(place, one["msg"]) for place, one in zip(places, found, strict=True))
        ) from None


def _check_signature(tensor: InputTensor, spec: TensorSpec, max_rows: int) -> None:
    if tensor.datatype != spec.datatype:
        raise _problem("/inputs/0/datatype", f"the model takes {spec.datatype}, got {tensor.datatype!r}")
    if len(tensor.shape) != len(spec.shape) or any(
        wanted not in (-1, got) for wanted, got in zip(spec.shape, tensor.shape, strict=True)
    ):
        raise _problem("/inputs/0/shape", f"the model takes {spec.shape} (-1: any), got {tensor.shape}")
    if not 1 <= tensor.shape[0] <= max_rows:
        raise _problem("/inputs/0/shape/0", f"1 to {max_rows} rows a request, got {tensor.shape[0]}")


def _from_buffer(tensor: InputTensor, size: Any, buffers: memoryview) -> NDArray[Any]:
    dtype = DTYPES[tensor.datatype]
    expected = math.prod(tensor.shape) * dtype.itemsize
    if size != expected or isinstance(size, bool):
        raise _problem(
            "/inputs/0/parameters/binary_data_size",
            f"{tensor.datatype} {tensor.shape} takes {expected} bytes, got {str(size)[:40]}",
        )
    if tensor.data is not None:
        raise _problem("/inputs/0/data", "the input has binary_data_size; send data or a buffer, not both")
    if len(buffers) != expected:
        raise _problem("", f"{len(buffers)} bytes follow the JSON, binary_data_size says {expected}")
    rows = np.frombuffer(buffers, dtype).reshape(tensor.shape)
    _check_finite(rows, "")
    return rows


def _from_json_data(tensor: InputTensor) -> NDArray[Any]:
    dtype = DTYPES[tensor.datatype]
    if not isinstance(tensor.data, list):
        raise _problem("/inputs/0/data", "an array of numbers is missing")
    try:
        values = np.asarray(tensor.data)
    except (ValueError, OverflowError):
        raise _problem("/inputs/0/data", "the array is ragged or too deep") from None
    if values.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        raise _problem("/inputs/0/data", f"the array holds other things than numbers of {tensor.datatype}")
    if values.size != math.prod(tensor.shape) or (values.ndim != 1 and list(values.shape) != tensor.shape):
        raise _problem("/inputs/0/data", f"shape says {tensor.shape}, the array is {list(values.shape)}")
    if dtype.kind == "u" and values.size and not (values.min() >= 0 and values.max() <= np.iinfo(dtype).max):
        raise _problem("/inputs/0/data", f"numbers of {tensor.datatype} run from 0 to {np.iinfo(dtype).max}")
    with np.errstate(over="ignore"):
        rows = cast(NDArray[Any], values.astype(dtype).reshape(tensor.shape))
    _check_finite(rows, "/inputs/0/data")
    return rows


def _check_finite(rows: NDArray[Any], place: str) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise _problem(place, "the input holds NaN or infinity")


def _wanted_values(
    wish: OutputWish, place: str, spec: TensorSpec, output: NDArray[Any], labels: Sequence[str]
) -> tuple[str, NDArray[Any]]:
    """The output itself, or with `classification` = k the k best as texts `value:index:label`, [N, k]."""
    count = wish.parameters.get("classification")
    if count is None:
        return spec.datatype, output
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= output.shape[-1]:
        raise _problem(f"{place}/parameters/classification", f"an integer from 1 to {output.shape[-1]}")
    order = np.argsort(-output, axis=-1, kind="stable")[:, :count]
    texts = [
        [f"{row[index]:.6f}:{index}:{labels[index]}" for index in best] for row, best in zip(output, order, strict=True)
    ]
    return "BYTES", np.array(texts, dtype=object)


def _tensor(name: str, datatype: str, values: NDArray[Any], buffers: list[bytes] | None) -> dict[str, Any]:
    """One output as JSON; its numbers go to `buffers` when there are any."""
    tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
    if buffers is None:
        if datatype != "BYTES" and not np.isfinite(values).all():
            raise _problem("/outputs", "the output is not finite, which JSON cannot carry; ask for binary_data")
        return {**tensor, "data": values.ravel().tolist()}
    flat = values.ravel().tolist()
    raw = encode_bytes(flat) if datatype == "BYTES" else values.astype(DTYPES[datatype], copy=False).tobytes()
    buffers.append(raw)
    return {**tensor, "parameters": {"binary_data_size": len(raw)}}


def _problem(pointer: str, message: str) -> RequestError:
    return RequestError(InputProblem(pointer, message))
