"""SHA-256 of files and folders: how artifacts are named and checked."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What a folder holds: relative name → SHA-256 and → bytes, both sorted by name."""

    files: Mapping[str, str]
    sizes: Mapping[str, int]

    @property
    def digest(self) -> str:
        """One SHA-256 for all of it; see `folder_digest`."""
        return folder_digest(self.files)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(self.sizes.values())


def file_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and length in bytes of one file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def folder_digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for a folder: over the lines `sha256sum` prints for its files, sorted by name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_content(folder: Path) -> FolderContent:
    """Names, digests and sizes of the plain files below `folder`.

    Raises:
        OSError: it does not exist, is empty, or holds a link or a device.
    """
    files: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for path in plain_files(folder):
        name = path.relative_to(folder).as_posix()
        files[name], sizes[name] = file_digest(path)
    return FolderContent(files, sizes)


def plain_files(folder: Path) -> list[Path]:
    """Every file below `folder`, sorted.

    Raises:
        OSError: it does not exist, is empty, or holds a link or a device.
    """
    found: list[Path] = []
    for base, folders, names in os.walk(folder, onerror=_raise):
        for name in [*folders, *names]:
            path = Path(base) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise OSError(f"{path} is a link or a device; only plain files can be stored")
        found += [Path(base) / name for name in names]
    if not found:
        raise FileNotFoundError(f"{folder} holds no files")
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
