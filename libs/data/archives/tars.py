"""Reading tar archives in one pass, plain or compressed."""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from libs.data.archives.files import SourceFile, Sources, write_member
from libs.data.archives.limits import ArchiveLimits, Meter, Tick
from libs.data.errors import ArchiveError, DiskFullError

_LARGEST_READ_BYTES = 4 << 20
_XZ_MEMORY_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 16
_BROKEN = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError)


def unpack_tar(file: Path, compression: str, target: Path, limits: ArchiveLimits, tick: Tick) -> Sources:
    """Unpack a tar below `target`, reading it once from beginning to end.

    Args:
        file: the archive.
        compression: empty, `gz`, `xz` or `bz2`.
        target: an existing folder.
        limits: what may come out.
        tick: told the fraction of the packed file that was read.

    Raises:
        ArchiveError: unsafe, broken or too large.
        DiskFullError: there is no room.
    """
    sources = Sources()
    packed_bytes = max(file.stat().st_size, 1)
    meter = Meter(limits, packed_bytes)
    with file.open("rb") as packed, _decompressed(packed, compression) as plain:
        stream = ForwardStream(plain, meter)
        with _broken_named(stream):
            for archive, info in _members(stream, meter):
                content = archive.extractfile(info)
                if content is None:
                    sources.admit_folder(info.name)
                elif name := sources.admit(info.name):
                    path = write_member(target, name, content, None, tick, packed.tell() / packed_bytes)
                    sources.files.append(SourceFile(name, path))
    return sources.complete()


def tar_names(file: Path, compression: str, limits: ArchiveLimits) -> Iterator[str]:
    """Names of a tar's regular files, one by one, as they come; nothing is written.

    Raises:
        ArchiveError: unsafe, broken or too large.
    """
    meter = Meter(limits, max(file.stat().st_size, 1))
    with file.open("rb") as packed, _decompressed(packed, compression) as plain:
        stream = ForwardStream(plain, meter)
        with _broken_named(stream):
            for _, info in _members(stream, meter):
                if info.isreg():
                    yield info.name


def _members(stream: "ForwardStream", meter: Meter) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    archive = tarfile.TarFile(fileobj=cast("IO[bytes]", stream), errors="surrogateescape")
    while (info := archive.next()) is not None:
        stream.member = info.name
        meter.entry(info.name)
        _check(info)
        yield archive, info
        archive.members.clear()  # type: ignore[attr-defined]  # else memory grows with the archive
    if stream.last_read.strip(b"\0"):  # tarfile takes a damaged header for the end
        raise tarfile.ReadError("a header is damaged")


@contextmanager
def _broken_named(stream: "ForwardStream") -> Iterator[None]:
    """Turn what decoders raise into one error that names the member."""
    try:
        yield
    except (ArchiveError, DiskFullError):
        raise
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ArchiveError(f"the tar archive is broken or cut off ({error}); pack it again", stream.member) from error


def _check(info: tarfile.TarInfo) -> None:
    if info.issym() or info.islnk():
        raise ArchiveError(f"links are refused (this one points to {info.linkname!r}); pack the file itself", info.name)
    if not (info.isreg() or info.isdir()):
        raise ArchiveError("is no regular file (a device, pipe or socket)", info.name)
    if info.issparse():
        raise ArchiveError("sparse files are refused; pack with tar's --hole-detection off", info.name)


def _decompressed(packed: IO[bytes], compression: str) -> IO[bytes]:
    if compression == "gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if compression == "bz2":
        return bz2.BZ2File(packed)
    if compression == "xz":
        return cast("IO[bytes]", io.BufferedReader(XzStream(packed), _CHUNK_BYTES))
    return packed


class XzStream(io.RawIOBase):
    """xz decompression that refuses to take more than 256 MB for its dictionary."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill the buffer with plain bytes; 0 at the end."""
        while True:
            if self._decoder.eof and not self._next_stream():
                return 0
            packed = self._packed.read(_CHUNK_BYTES) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not packed:
                raise EOFError("the compressed data ends too early")
            if plain := self._decoder.decompress(packed, len(buffer)):
                buffer[: len(plain)] = plain
                return len(plain)

    def _next_stream(self) -> bool:
        """Begin the next of several concatenated xz streams, if one follows."""
        rest = self._decoder.unused_data.lstrip(b"\0") or self._packed.read(_CHUNK_BYTES).lstrip(b"\0")
        if not rest:
            return False
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)
        self._decoder.decompress(rest, 0)
        return True


class ForwardStream:
    """What `tarfile` needs of a file, over a stream that only goes forward, with all bytes counted.

    `tarfile` goes back by one byte between members; that byte is kept. A single huge read (of a forged
    extended header) is refused before it takes memory.

    Attributes:
        member: name of the member being read, for errors.
        last_read: what the last read returned.
    """

    def __init__(self, stream: IO[bytes], meter: Meter) -> None:
        self.member: str | None = None
        self.last_read = b""
        self._stream = stream
        self._meter = meter
        self._position = 0
        self._repeat = False

    def tell(self) -> int:
        """Position in plain bytes."""
        return self._position - self._repeat

    def read(self, size: int) -> bytes:
        """Up to `size` bytes.

        Raises:
            ArchiveError: over the limits.
        """
        if not 0 <= size <= _LARGEST_READ_BYTES:
            raise ArchiveError(f"an extended header of {size:,} bytes is refused", self.member)
        if size == 0:
            return b""
        repeated = self.last_read[-1:] if self._repeat else b""
        fresh = self._stream.read(size - len(repeated))
        self._repeat = False
        self._meter.unpacked(len(fresh), self.member)
        self._position += len(fresh)
        self.last_read = repeated + fresh
        return self.last_read

    def seek(self, position: int) -> int:
        """Go forward, or back by one byte."""
        if position == self.tell() - 1 and self.last_read and not self._repeat:
            self._repeat = True
        while self.tell() < position:
            if not self.read(min(position - self.tell(), _CHUNK_BYTES)):
                raise tarfile.ReadError("unexpected end of data")
        if self.tell() != position:
            raise tarfile.ReadError("the archive points back into itself")
        return position
