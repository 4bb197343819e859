"""A folder as a tar archive that exists only while it is read, from any offset: no copy of the data on disk.

The same folder gives the same bytes (names sorted; no times, owners or modes), so an interrupted upload of many GB goes
on where it stopped.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.client.errors import LocalFileError

_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in the archive: header at `start`, content, padding. The header is made again when it is read."""

    name: str
    path: Path
    start: int
    header_bytes: int
    size_bytes: int

    @property
    def end(self) -> int:
        return self.start + self.header_bytes + -(-self.size_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


class FolderTar:
    """The regular files below a folder, hidden ones left out, or some files side by side, as an uncompressed tar.

    Args:
        source: the folder, or the files.

    Raises:
        LocalFileError: the folder cannot be read or has no files, or two files have one name.
    """

    def __init__(self, source: Path | Sequence[Path]) -> None:
        self._members: list[_Member] = []
        start = 0
        for name, path in _named(source):
            size_bytes = path.stat().st_size
            member = _Member(name, path, start, len(_header(name, size_bytes)), size_bytes)
            self._members.append(member)
            start = member.end
        if not self._members:
            raise LocalFileError(f"{source} holds no files.")
        self.size_bytes = start + len(_END)

    def __len__(self) -> int:
        return len(self._members)

    def read(self, offset: int, block_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The archive's bytes from `offset` to its end.

        Raises:
            LocalFileError: a file changed its size or went away since the archive was laid out.
        """
        for member in self._members:
            if member.end > offset:
                yield from _member_bytes(member, max(0, offset - member.start), block_bytes)
        tail = max(0, offset - (self.size_bytes - len(_END)))
        yield _END[tail:]


def _named(source: Path | Sequence[Path]) -> list[tuple[str, Path]]:
    """Files with their names in the archive."""
    if isinstance(source, Path):
        return [(path.relative_to(source).as_posix(), path) for path in visible_files(source)]
    if len({path.name for path in source}) < len(source):
        raise LocalFileError(f"Two files are called {source[0].name!r}; rename one.")
    return [(path.name, path) for path in source]


def visible_files(folder: Path) -> list[Path]:
    """The regular files below a folder by name; hidden ones and links left out.

    Raises:
        LocalFileError: it cannot be read.
    """
    try:
        found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    except OSError as error:
        raise LocalFileError(f"{folder} cannot be read: {error.strerror}.") from None
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _member_bytes(member: _Member, skip: int, block_bytes: int) -> Iterator[bytes]:
    yield _header(member.name, member.size_bytes)[skip:]
    content_from = max(0, skip - member.header_bytes)
    yield from _content(member, min(content_from, member.size_bytes), block_bytes)
    padding = member.end - member.start - member.header_bytes - member.size_bytes
    yield bytes(padding)[max(0, content_from - member.size_bytes) :]


def _content(member: _Member, offset: int, block_bytes: int) -> Iterator[bytes]:
    left = member.size_bytes - offset
    try:
        with member.path.open("rb") as file:
            file.seek(offset)
            while left and (block := file.read(min(block_bytes, left))):
                left -= len(block)
                yield block
    except OSError as error:
        raise LocalFileError(f"{member.path} cannot be read: {error.strerror}.") from None
    if left:
        raise LocalFileError(f"{member.path} became shorter while it was sent. Send the folder again.")
