"""Stored files on their way out, streamed in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from starlette.responses import StreamingResponse

from libs.database.tables import Artifact
from libs.registry.artifacts import ArtifactStore

_BLOCK_BYTES = 1 << 20
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
"""Policy of HTML that a job wrote: it runs, but reaches neither this origin nor any other."""


@dataclass(frozen=True, slots=True)
class Download:
    """A stored file and how it is presented."""

    uri: str
    name: str
    media_type: str
    digest: str
    size_bytes: int


def download_of(artifact: Artifact) -> Download:
    """An artifact row as a download."""
    return Download(artifact.uri, artifact.name, artifact.media_type, artifact.digest, artifact.size_bytes)


def stream_file(store: ArtifactStore, file: Download, *, inline: bool = False) -> StreamingResponse:
    """The answer that carries a stored file; its digest is its ETag.

    Raises:
        ArtifactNotFound: the store does not have the file any more.
    """
    opened = store.open(file.uri)
    place = "inline" if inline else "attachment"
    headers = {
        "Content-Length": str(file.size_bytes),
        "Content-Disposition": f"{place}; filename*=UTF-8''{quote(file.name.rpartition('/')[2], safe='')}",
        "Content-Security-Policy": _SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "ETag": f'"{file.digest}"',
    }
    return StreamingResponse(_blocks(opened), media_type=file.media_type, headers=headers)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block
