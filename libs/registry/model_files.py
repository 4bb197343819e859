"""What kind of file somebody offers as a model. Nothing is executed or unpickled to find out."""

import json
from pathlib import Path
from typing import Literal

from libs.registry.errors import ImportRefused

MAX_ONNX_BYTES = 2**31 - 1
"""A protobuf message cannot be larger."""
MAX_WEIGHTS_BYTES = 20 * 2**30
_MAX_HEADER_BYTES = 4 * 2**20
"""Some 40,000 tensors; what is parsed takes twenty times its length of memory, in the process that takes uploads."""

FileKind = Literal["onnx", "safetensors"]

_PICKLE_HINT = (
    "It may run any program when it is opened, so Octavo never opens one. Convert it on your own machine: "
    "`octavo convert model.pth model.safetensors`, then import the safetensors file."
)


def model_file_kind(file: Path) -> FileKind:
    """Tell safetensors from ONNX by content.

    Raises:
        ImportRefused: it is a pickle, an archive, too large, or neither.
    """
    size_bytes = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(9)
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ImportRefused(f"This is a Python pickle (.pth, .pt, .bin). {_PICKLE_HINT}")
    if head[:4] == b"PK\x03\x04":
        raise ImportRefused(f"This is a zip archive, such as torch.save writes (.pth, .pt). {_PICKLE_HINT}")
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        raise ImportRefused("This is an HDF5 file, such as Keras writes. Export the model to ONNX and import that.")
    if _is_safetensors(head, size_bytes, file):
        return _limited("safetensors", size_bytes, MAX_WEIGHTS_BYTES)
    if head[:1] == b"\x08":  # protobuf field 1 of ModelProto, ir_version
        return _limited("onnx", size_bytes, MAX_ONNX_BYTES)
    raise ImportRefused("This is neither an ONNX nor a safetensors file.")


def _is_safetensors(head: bytes, size_bytes: int, file: Path) -> bool:
    """A safetensors file begins with the length of a JSON object, 8 bytes little-endian, and that object."""
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:9] != b"{" or not 2 <= length <= min(size_bytes - 8, _MAX_HEADER_BYTES):
        return False
    with file.open("rb") as stream:
        stream.seek(8)
        try:
            return isinstance(json.loads(stream.read(length)), dict)
        except (ValueError, RecursionError):
            return False


def _limited(kind: FileKind, size_bytes: int, limit_bytes: int) -> FileKind:
    if size_bytes > limit_bytes:
        raise ImportRefused(f"The {kind} file has {size_bytes:,} bytes, more than the limit of {limit_bytes:,}.")
    return kind
