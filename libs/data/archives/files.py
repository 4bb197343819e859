"""Files on disk that came from an archive or lie in a folder, and how they are written there."""

import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from libs.data.archives.limits import Meter, Tick
from libs.data.archives.names import is_junk, safe_name
from libs.data.errors import ArchiveError, DiskFullError

_CHUNK_BYTES = 1 << 20


class SourceFile(NamedTuple):
    """A file.

    Attributes:
        name: safe, uniform name relative to the root.
        path: where it lies.
    """

    name: str
    path: Path


@dataclass(slots=True)
class Sources:
    """Files to look at.

    Attributes:
        files: sorted by name once complete.
        folders: safe names of the folders that have entries of their own, empty ones among them.
        ignored: what was left out, by reason.
    """

    files: list[SourceFile] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    ignored: Counter[str] = field(default_factory=Counter)
    _names: set[str] = field(default_factory=set)

    def admit(self, raw: str) -> str | None:
        """The safe name of a member, or None if it is to be ignored (and is counted).

        Raises:
            ArchiveError: unsafe, or the name came before.
        """
        name = safe_name(raw)
        if not name or is_junk(name):
            self.ignored["system files" if name else "empty names"] += 1
            return None
        if name in self._names:
            raise ArchiveError("the name comes twice (after Unicode normalisation)", name)
        self._names.add(name)
        return name

    def admit_folder(self, raw: str) -> None:
        """Note a folder.

        Raises:
            ArchiveError: unsafe.
        """
        name = safe_name(raw)
        if name and not is_junk(name):
            self.folders.add(name)

    def complete(self) -> "Sources":
        """Sort the files, so that nothing later depends on the order of an archive."""
        self.files.sort()
        self._names.clear()
        return self


def write_member(target: Path, name: str, stream: IO[bytes], meter: Meter | None, tick: Tick, done: float) -> Path:
    """Copy one member to `target/name`, counting its bytes with `meter` unless they are counted elsewhere.

    Raises:
        ArchiveError: too much comes out, or the name clashes with another member's.
        DiskFullError: there is no room.
    """
    path = target / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while chunk := stream.read(_CHUNK_BYTES):
                if meter is not None:
                    meter.unpacked(len(chunk), name)
                file.write(chunk)
                tick(done)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise ArchiveError("is a file and a folder at once", name) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(target, f"while {name!r} was unpacked") from error
        raise
    return path


def disk_full(folder: Path, when: str) -> DiskFullError:
    """The error for a full disk, with what is free."""
    free = shutil.disk_usage(folder).free
    return DiskFullError(f"The disk of {folder} is full ({free:,} bytes free) {when}; free space and run again.")


def scan_folder(root: Path, max_files: int) -> Sources:
    """List the files below a folder, which are used where they lie.

    Raises:
        ArchiveError: links, devices, names that clash or hold a backslash, or too many files.
    """
    sources = Sources()
    for entries, path in enumerate(_walk(root), start=1):
        raw = path.relative_to(root).as_posix()
        if entries > max_files:
            raise ArchiveError(f"the folder has more than {max_files:,} entries", raw)
        if path.is_dir() and not path.is_symlink():
            sources.admit_folder(raw)
            continue
        _check_regular(path, raw)
        if "\\" in raw:
            raise ArchiveError("a backslash in a name reads as a folder elsewhere; rename the file", raw)
        if name := sources.admit(raw):
            sources.files.append(SourceFile(name, path))
    return sources.complete()


def _walk(root: Path) -> Iterator[Path]:
    """Every entry below `root`; links are not followed."""
    for folder, folders, files in os.walk(root, onerror=_unreadable):
        yield from (Path(folder) / name for name in folders + files)


def _unreadable(error: OSError) -> None:
    raise ArchiveError(f"cannot be listed: {error.strerror}", error.filename) from error


def _check_regular(path: Path, raw: str) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise ArchiveError("links are refused; put the file itself there", raw)
    if not stat.S_ISREG(mode):
        raise ArchiveError("is no regular file (a device, pipe or socket)", raw)
