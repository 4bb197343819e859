"""Reading zip archives."""

import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from libs.data.archives.files import SourceFile, Sources, disk_full, write_member
from libs.data.archives.limits import ArchiveLimits, Meter, Tick
from libs.data.errors import ArchiveError

_END = struct.Struct("<4s8xLLH")  # signature, …, directory size and offset, comment length
_END64 = struct.Struct("<4s36xQQ")
_END64_LOCATOR_BYTES, _END64_BYTES, _LARGEST_COMMENT_BYTES = 20, 56, 65_535
_ENTRY = struct.Struct("<4s24xHHH12x")  # signature, …, lengths of name, extra field and comment
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, NotImplementedError)


def open_zip(file: Path, limits: ArchiveLimits) -> zipfile.ZipFile:
    """Open a zip after counting its entries, and check every entry before anything is unpacked.

    Raises:
        ArchiveError: broken, encrypted, too many entries, or a declared size or ratio over the limit.
    """
    try:
        with file.open("rb") as stream:
            _count_entries(stream, limits.max_files)
        archive = zipfile.ZipFile(file)
    except _BROKEN as error:
        raise ArchiveError(f"The zip archive is broken or cut off ({error}); pack it again.") from error
    meter = Meter(limits, file.stat().st_size)
    declared = 0
    for info in archive.infolist():
        meter.entry(info.filename)
        _check(info)
        declared += info.file_size
        meter.check(declared, info.filename)
    return archive


def unpack_zip(file: Path, target: Path, limits: ArchiveLimits, tick: Tick) -> Sources:
    """Unpack a zip below `target`.

    Raises:
        ArchiveError: unsafe, broken, encrypted or too large.
        DiskFullError: there is no room.
    """
    sources = Sources()
    meter = Meter(limits, file.stat().st_size)
    with open_zip(file, limits) as archive:
        _check_room(archive, target)
        members = archive.infolist()
        for done, info in enumerate(members):
            if info.is_dir():
                sources.admit_folder(info.filename)
            elif name := sources.admit(info.filename):
                path = _unpack_member(archive, info, target, name, meter, tick, done / len(members))
                sources.files.append(SourceFile(name, path))
    return sources.complete()


def _unpack_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, name: str, meter: Meter, tick: Tick, done: float
) -> Path:
    try:
        with archive.open(info) as stream:
            return write_member(target, name, stream, meter, tick, done)
    except _BROKEN as error:
        raise ArchiveError(f"cannot be unpacked ({error}); pack the archive again", name) from error


def _check(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise ArchiveError("is encrypted; pack the archive without a password", info.filename)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ArchiveError("links are refused; pack the file itself", info.filename)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError("is no regular file (a device, pipe or socket)", info.filename)


def _check_room(archive: zipfile.ZipFile, target: Path) -> None:
    declared = sum(info.file_size for info in archive.infolist())
    if declared > shutil.disk_usage(target).free:
        raise disk_full(target, f"and the archive unpacks to {declared:,} bytes")


def _count_entries(stream: BinaryIO, max_files: int) -> None:
    """Walk the central directory without keeping it: `zipfile` would hold all of it in memory first."""
    position, size = _directory(stream)
    stream.seek(position)
    entries = 0
    while size > 0:
        header = stream.read(_ENTRY.size)
        if len(header) < _ENTRY.size:
            raise zipfile.BadZipFile("the directory is cut off")
        signature, name_bytes, extra_bytes, comment_bytes = _ENTRY.unpack(header)
        if signature != b"PK\x01\x02":
            raise zipfile.BadZipFile("the directory has a wrong entry")
        stream.seek(name_bytes + extra_bytes + comment_bytes, 1)
        size -= _ENTRY.size + name_bytes + extra_bytes + comment_bytes
        entries += 1
        if entries > max_files:
            raise ArchiveError(f"The zip archive has more than {max_files:,} entries.")


def _directory(stream: BinaryIO) -> tuple[int, int]:
    """Position and size in bytes of the central directory."""
    end = stream.seek(0, 2)
    tail_bytes = min(end, _END.size + _LARGEST_COMMENT_BYTES)
    stream.seek(end - tail_bytes)
    tail = stream.read(tail_bytes)
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END.size:
        raise zipfile.BadZipFile("it has no directory")
    _, size, offset, _ = _END.unpack_from(tail, found)
    record = end - tail_bytes + found
    if 0xFFFFFFFF in (size, offset) or tail[found + 10 : found + 12] == b"\xff\xff":
        record64 = record - _END64_LOCATOR_BYTES - _END64_BYTES
        stream.seek(max(record64, 0))
        header = stream.read(_END64.size)
        if header[:4] == b"PK\x06\x06":
            record, size = record64, _END64.unpack(header)[1]
    return max(record - size, 0), size
