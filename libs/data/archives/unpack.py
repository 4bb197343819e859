"""Telling what an upload is by its first bytes, and unpacking it."""

import bz2
import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from libs.data.archives.files import Sources
from libs.data.archives.limits import ArchiveLimits, Tick
from libs.data.archives.tars import tar_names, unpack_tar
from libs.data.archives.zips import open_zip, unpack_zip
from libs.data.errors import ArchiveError

Kind = Literal["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"]

_PEEK_BYTES = tarfile.BLOCKSIZE
_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"\x80": "a Python pickle",
}


def archive_kind(file: Path) -> Kind:
    """What kind of archive a file is, by its content.

    Raises:
        ArchiveError: empty, or none that Octavo reads.
    """
    with file.open("rb") as stream:
        head = stream.read(_PEEK_BYTES)
    if not head:
        raise ArchiveError("The file is empty.")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if _is_tar(head):
        return "tar"
    for magic, kind, peek in _COMPRESSIONS:
        if head.startswith(magic):
            return _check_inside(kind, peek, file)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise ArchiveError(f"The file is {what}, which is not read; send a zip, a tar (.gz, .xz, .bz2) or an npz.")
    raise ArchiveError(
        "The file is no archive; send a zip, a tar (plain, .gz, .xz or .bz2), an npz of arrays, or a table of events "
        "(.csv, .tsv, .parquet)."
    )


def unpack(file: Path, target: Path, limits: ArchiveLimits, tick: Tick = lambda fraction: None) -> Sources:
    """Unpack an archive into a new folder; after an error the folder is gone.

    Args:
        file: zip or tar.
        target: folder to make.
        limits: what may come out.
        tick: told the fraction done; what it raises stops the work.

    Raises:
        ArchiveError: no archive, unsafe, broken, encrypted or too large.
        DiskFullError: there is no room.
    """
    kind = archive_kind(file)
    target.mkdir(parents=True)
    try:
        if kind == "zip":
            return unpack_zip(file, target, limits, tick)
        return unpack_tar(file, kind.removeprefix("tar").removeprefix("."), target, limits, tick)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def member_names(file: Path, limits: ArchiveLimits) -> Iterator[str]:
    """Names of an archive's files, as they stand there, one by one; nothing is unpacked.

    Raises:
        ArchiveError: no archive, unsafe, broken, encrypted or too large.
    """
    kind = archive_kind(file)
    if kind == "zip":
        with open_zip(file, limits) as archive:
            yield from (info.filename for info in archive.infolist() if not info.is_dir())
    else:
        yield from tar_names(file, kind.removeprefix("tar").removeprefix("."), limits)


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _check_inside(kind: Kind, peek: Callable[[Path], bytes], file: Path) -> Kind:
    try:
        inside = peek(file)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"The compressed file is broken or cut off ({error}); pack it again.") from error
    if not _is_tar(inside):
        raise ArchiveError("The file is compressed, but what is inside is no tar archive; send a tar of the folder.")
    return kind


def _peek_gzip(file: Path) -> bytes:
    with gzip.open(file) as stream:
        return stream.read(_PEEK_BYTES)


def _peek_xz(file: Path) -> bytes:
    with lzma.open(file) as stream:
        return stream.read(_PEEK_BYTES)


def _peek_bz2(file: Path) -> bytes:
    with bz2.open(file) as stream:
        return stream.read(_PEEK_BYTES)


_COMPRESSIONS: tuple[tuple[bytes, Kind, Callable[[Path], bytes]], ...] = (
    (b"\x1f\x8b", "tar.gz", _peek_gzip),
    (b"\xfd7zXZ\0", "tar.xz", _peek_xz),
    (b"BZh", "tar.bz2", _peek_bz2),
)
