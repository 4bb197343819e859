"""Writing what was validated as a data set."""

import errno
from pathlib import Path

import numpy as np

from libs.data.archives.files import disk_full
from libs.data.images.index import Row
from libs.data.manifest import InPlace, Manifest
from libs.data.statistics import PixelSums
from libs.data.validation.entries import Collected, Entry
from libs.data.validation.watch import Watch
from libs.data.write import write_manifest


def store(collected: Collected, folder: Path, watch: Watch) -> Manifest:
    """Move the pictures in, unless they stay where they are, and write index and manifest.

    Args:
        collected: checked, every entry with its split.
        folder: of the data set.
        watch: progress and stop.

    Raises:
        DiskFullError: there is no room.
    """
    entries = collected.entries
    for done, entry in enumerate(entries):
        if entry.file is not None and collected.place is None:
            watch.tick(done / len(entries))
            _move(entry.file, folder, entry.stored)
    channels = 1 if all(entry.look.grey for entry in entries) else 3
    heights = np.array([entry.look.height for entry in entries])
    widths = np.array([entry.look.width for entry in entries])
    return write_manifest(
        folder,
        [_row(entry) for entry in entries],
        storage=collected.storage,
        classes=collected.classes,
        sums=PixelSums.total((entry.look.sums for entry in entries if entry.split == "train"), channels),
        size=(int(np.median(heights)), int(np.median(widths))),
        uniform_size=bool(np.ptp(heights) == 0 and np.ptp(widths) == 0),
        size_bytes=sum(entry.look.size_bytes for entry in entries),
        in_place=_in_place(collected),
    )


def _in_place(collected: Collected) -> InPlace | None:
    if collected.place is None:
        return None
    return InPlace(root=collected.place.url, largest_bytes=max(entry.look.size_bytes for entry in collected.entries))


def _row(entry: Entry) -> Row:
    look = entry.look
    return Row(entry.stored, entry.label, entry.split or "train", look.width, look.height, look.mode, look.sha256)


def _move(source: Path, folder: Path, stored: str) -> None:
    target = folder / "pictures" / stored
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder, f"while {stored!r} was moved") from error
        raise
