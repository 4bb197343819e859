"""Names of archive members: made safe and uniform, or refused."""

import unicodedata

from libs.data.errors import ArchiveError

_MAX_DEPTH = 32
_MAX_PART_BYTES = 255
_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"})


def safe_name(raw: str) -> str:
    """A relative name with `/` between parts, in Unicode normal form C; empty for the root folder itself.

    Raises:
        ArchiveError: the name leaves the folder it is unpacked to, or no file system could hold it.
    """
    name = unicodedata.normalize("NFC", raw.replace("\\", "/"))
    if name.startswith("/") or (len(name) > 1 and name[1] == ":" and name[0].isalpha()):
        raise ArchiveError("absolute paths are refused; make the archive from inside the folder", raw)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArchiveError("paths with '..' lead out of the archive and are refused", raw)
    _check_parts(raw, parts)
    return "/".join(parts)


def is_junk(name: str) -> bool:
    """Whether a safe name is a system's leftover: dot files, `__MACOSX`, `Thumbs.db` and their like."""
    return any(part.startswith(".") or part in _JUNK for part in name.split("/"))


def _check_parts(raw: str, parts: list[str]) -> None:
    if len(parts) > _MAX_DEPTH:
        raise ArchiveError(f"more than {_MAX_DEPTH} folders deep", raw)
    for part in parts:
        try:
            size_bytes = len(part.encode())
        except UnicodeEncodeError:
            raise ArchiveError("the name is not valid Unicode; rename the file", raw) from None
        if size_bytes > _MAX_PART_BYTES:
            raise ArchiveError(f"a name longer than {_MAX_PART_BYTES} bytes", raw)
        if any(unicodedata.category(character) == "Cc" for character in part):
            raise ArchiveError("the name contains control characters; rename the file", raw)
