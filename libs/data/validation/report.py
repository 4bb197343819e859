"""The validation report: JSON values only."""

from collections import Counter
from typing import Any

import numpy as np

from libs.data.images.index import SPLITS
from libs.data.manifest import ImagesManifest
from libs.data.validation.entries import Collected
from libs.data.validation.problems import Problems
from libs.data.validation.upload import Upload

_LISTED_CLASSES = 1000


def upload_report(upload: Upload) -> dict[str, Any]:
    """What came in."""
    size = {"size_bytes": upload.path.stat().st_size} if upload.path.is_file() else {}
    return {"upload": {"name": upload.name, "in_place": upload.url is not None, "public": upload.public, **size}}


def content_report(collected: Collected, origin: dict[str, str]) -> dict[str, Any]:
    """What was found: counts, classes, splits, sizes, modes."""
    entries = collected.entries
    by_class: Counter[tuple[int, str | None]] = Counter((entry.label, entry.split) for entry in entries)
    by_split = Counter(entry.split for entry in entries)
    return {
        "format": collected.format,
        "notes": collected.notes,
        "pictures": len(entries),
        "broken": collected.broken,
        "ignored": collected.ignored,
        "class_count": len(collected.classes),
        "classes": [
            {"name": name, **{split: by_class[label, split] for split in origin}}
            for label, name in enumerate(collected.classes[:_LISTED_CLASSES])
        ],
        "splits": {
            split: {"pictures": by_split[split], "origin": origin[split]} for split in SPLITS if split in origin
        },
        "sizes": _sizes(collected),
        "modes": dict(Counter(entry.look.mode for entry in entries).most_common()),
    }


def manifest_report(manifest: ImagesManifest) -> dict[str, Any]:
    """What the data set is."""
    return manifest.model_dump(include={"channels", "mean", "std", "digest", "size_bytes"})


def problems_report(problems: Problems) -> dict[str, Any]:
    """What was wrong or odd: how often each, and the first of each."""
    return {"problem_counts": dict(problems.counts), "problems": problems.as_json()}


def _sizes(collected: Collected) -> dict[str, Any]:
    """Smallest, median and largest width and height in px."""
    if not collected.entries:
        return {}
    widths = np.array([entry.look.width for entry in collected.entries])
    heights = np.array([entry.look.height for entry in collected.entries])
    return {
        side: {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}
        for side, values in (("width", widths), ("height", heights))
    }
