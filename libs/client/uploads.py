"""Uploads of any size in chunks: after an interruption the gateway says how much has arrived, and it goes on there."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from libs.client.errors import ConflictError, LocalFileError, UnavailableError, UnreachableError
from libs.client.folder_tar import FolderTar
from libs.client.transport import Transport

CHUNK_BYTES = 32 << 20
_BLOCK_BYTES = 1 << 20
Progress = Callable[[int, int], None]
"""Called with the bytes sent and the bytes in all."""


class Source(Protocol):
    """Bytes that can be read again from any offset."""

    @property
    def name(self) -> str:
        """What the platform calls it; the ending says what it is."""

    @property
    def size_bytes(self) -> int:
        """All of it."""

    def read(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` to the end."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file."""

    path: Path
    name: str
    size_bytes: int

    def read(self, offset: int) -> Iterator[bytes]:
        """The bytes from `offset` to the end.

        Raises:
            LocalFileError: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                while block := file.read(_BLOCK_BYTES):
                    yield block
        except OSError as error:
            raise LocalFileError(f"{self.path} cannot be read: {error.strerror}.") from None


class TarSource:
    """A folder, or some files, as a tar."""

    def __init__(self, source: Path | Sequence[Path]) -> None:
        self._tar = FolderTar(source)
        called = source.resolve().name if isinstance(source, Path) else source[0].name
        self.name = f"{plain_name(called) or 'folder'}.tar"
        self.size_bytes = self._tar.size_bytes

    def read(self, offset: int) -> Iterator[bytes]:
        """The archive from `offset` to its end."""
        return self._tar.read(offset)


def source_of(path: Path, *beside: Path) -> Source:
    """The file or folder at `path`, or it and other files together as one tar.

    Raises:
        LocalFileError: there is none, or it is empty.
    """
    if beside:
        files = [path, *beside]
        for file in files:
            _file_source(file)
        return TarSource(files)
    return TarSource(path) if path.is_dir() else _file_source(path)


def _file_source(path: Path) -> FileSource:
    if not path.is_file():
        raise LocalFileError(f"There is no file or folder {path}.")
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise LocalFileError(f"{path} is empty.")
    return FileSource(path, plain_name(path.name), size_bytes)


def plain_name(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore; its ending is kept."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")[-128:]


def upload(transport: Transport, path: str, source: Source, progress: Progress | None = None) -> None:
    """Send `source` to the upload address `path`, from where it stands there, in chunks.

    Raises:
        UnreachableError: the gateway stayed away for longer than the retries bridge.
        LocalFileError: the source cannot be read, or is not what was begun.
    """
    failures = 0
    offset = _arrived(transport, path, source)
    while offset < source.size_bytes:
        if progress is not None:
            progress(offset, source.size_bytes)
        try:
            offset = _send_chunk(transport, path, source, offset)
            failures = 0
        except (UnreachableError, UnavailableError, ConflictError):
            failures += 1
            if failures >= transport.retries.attempts:
                raise
            transport.sleep(transport.retries.wait_s(failures))
            offset = _arrived(transport, path, source)
    if progress is not None:
        progress(offset, source.size_bytes)


def _arrived(transport: Transport, path: str, source: Source) -> int:
    offset = int(transport.send("HEAD", path).headers["Upload-Offset"])
    if offset > source.size_bytes:
        raise LocalFileError(
            f"{offset} bytes of this upload have arrived, more than {source.name} has; it is not what was begun."
        )
    return offset


def _send_chunk(transport: Transport, path: str, source: Source, offset: int) -> int:
    size_bytes = min(CHUNK_BYTES, source.size_bytes - offset)
    headers = {
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(size_bytes),
    }
    response = transport.send("PATCH", path, content=_exactly(source, offset, size_bytes), headers=headers)
    return int(response.headers["Upload-Offset"])


def _exactly(source: Source, offset: int, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    for block in chain(source.read(offset), (b"",)):
        yield block[:left]
        left -= len(block[:left])
        if left == 0:
            return
    raise LocalFileError(f"{source.name} became shorter while it was sent.")
