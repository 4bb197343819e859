"""An upload of pictures: read, checked, stored."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.config import ValidationConfig
from libs.data.contact_sheet import contact_sheet
from libs.data.images import ImageData, open_images
from libs.data.images.fingerprint import nearly_equal
from libs.data.validation.assign import assign_splits
from libs.data.validation.checks import check_amount, check_balance, check_equal, check_similar
from libs.data.validation.collect import collect
from libs.data.validation.entries import Collected
from libs.data.validation.problems import Problems
from libs.data.validation.report import content_report, manifest_report
from libs.data.validation.store import store
from libs.data.validation.upload import Upload
from libs.data.validation.watch import Watch
from libs.data.validation.work import Work

_PREVIEW_CLASSES, _PREVIEW_PICTURES = 20, 8
PREVIEW = "preview.png"


def validate_pictures(upload: Upload, config: ValidationConfig, work: Work) -> dict[str, Path]:
    """Make a data set of an upload of pictures, unless it has errors.

    Returns:
        Files to keep: a sheet of sample pictures.

    Raises:
        DataError: nothing can be read at all.
        DiskFullError: there is no room.
    """
    collected = collect(upload, config, work.scratch, work.dataset, work.problems, work.watch)
    work.report.update(_check(collected, config, work.problems))
    if work.problems.fatal:
        return {}
    data = _store(collected, work.dataset, work.watch)
    work.report.update(manifest_report(data.manifest))
    work.report["near_duplicates"] = _similar(collected, data, config, work.problems, work.watch)
    preview = work.dataset.parent / PREVIEW
    preview.write_bytes(_preview(data))
    return {PREVIEW: preview}


def _check(collected: Collected, config: ValidationConfig, problems: Problems) -> dict[str, Any]:
    """All checks that need no second look at the pictures."""
    check_amount(collected, config, problems)
    origin = assign_splits(collected.entries, config, labelled=bool(collected.classes))
    if collected.entries:
        check_balance(collected, problems)
    duplicates = check_equal(collected.entries, collected.classes, problems)
    return content_report(collected, origin) | {"duplicates": duplicates}


def _store(collected: Collected, folder: Path, watch: Watch) -> ImageData:
    watch.step(0.8, 0.9, "writing the data set")
    store(collected, folder, watch)
    return open_images(folder, None if collected.place is None else collected.place.folder)


def _similar(
    collected: Collected, data: ImageData, config: ValidationConfig, problems: Problems, watch: Watch
) -> dict[str, Any]:
    if not config.near_duplicates:
        return {"checked": False}
    watch.step(0.9, 0.98, "comparing splits")
    every = data.split("all")

    def same(left: int, right: int) -> bool:
        watch.tick(0.5)
        return nearly_equal(every.picture(left), every.picture(right))

    return check_similar(collected.entries, same, problems)


def _preview(data: ImageData) -> bytes:
    """Training pictures by class."""
    train = data.split("train")
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for label in np.unique(train.labels)[:_PREVIEW_CLASSES]:
        members = np.flatnonzero(train.labels == label)[:_PREVIEW_PICTURES]
        name = data.manifest.classes[label] if label >= 0 else "without label"
        rows[name] = [train.picture(int(position)) for position in members]
    return contact_sheet(rows)
