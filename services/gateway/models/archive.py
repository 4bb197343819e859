"""A stored bundle as a zip, made while it is sent: neither memory nor disk holds the whole."""

import io
import zipfile
from collections.abc import Iterator

from starlette.responses import StreamingResponse

from libs.database.tables import ModelVersion
from libs.registry.artifacts import ArtifactNotFound, ArtifactStore

_BLOCK_BYTES = 1 << 20
_NOT_SMALLER = (".onnx", ".safetensors", ".npz", ".png")
"""Weights hardly shrink: they are stored as they are, which costs no CPU."""


def stream_bundle(store: ArtifactStore, version: ModelVersion, name: str) -> StreamingResponse:
    """The answer that carries a version's bundle.

    Raises:
        ArtifactNotFound: the store does not have the bundle any more.
    """
    folder = f"{name}-{version.version}"
    if not store.exists(f"{version.uri}/bundle.json"):
        raise ArtifactNotFound(f"no bundle at {version.uri}")
    members = {f"{folder}/{file}": f"{version.uri}/{file}" for file in ("bundle.json", *version.bundle["files"])}
    headers = {"Content-Disposition": f'attachment; filename="{folder}.zip"', "ETag": f'"{version.digest}"'}
    return StreamingResponse(_zip_blocks(store, members), media_type="application/zip", headers=headers)


def _zip_blocks(store: ArtifactStore, members: dict[str, str]) -> Iterator[bytes]:
    sink = _Outgoing()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, uri in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_NOT_SMALLER) else zipfile.ZIP_DEFLATED
            with store.open(uri) as source, archive.open(info, "w", force_zip64=True) as member:
                while block := source.read(_BLOCK_BYTES):
                    member.write(block)
                    yield sink.take()
    yield sink.take()


class _Outgoing(io.RawIOBase):
    """What a ZipFile writes to: bytes on their way out. It cannot seek, so the zip carries data descriptors."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = bytes(self._held)
        self._held.clear()
        return taken
