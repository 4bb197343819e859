"""Checking an upload and making a data set of it: the `validate-dataset` job."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.config import ValidationConfig
from libs.data.contact_sheet import contact_sheet
from libs.data.errors import ArchiveError, DataError, InvalidDatasetError, PublicDatasetError
from libs.data.images import ImageData, open_images
from libs.data.images.fingerprint import nearly_equal
from libs.data.validation.assign import assign_splits
from libs.data.validation.checks import check_amount, check_balance, check_equal, check_similar
from libs.data.validation.collect import Upload, collect
from libs.data.validation.entries import Collected
from libs.data.validation.problems import Problems
from libs.data.validation.report import content_report, manifest_report, problems_report, upload_report
from libs.data.validation.store import store
from libs.data.validation.watch import Watch
from libs.training.run import Inputs, Outcome, Run

_PREVIEW_CLASSES, _PREVIEW_PICTURES = 20, 8


def run(config: ValidationConfig, inputs: Inputs, run: Run) -> Outcome:
    """Validate an upload.

    Args:
        config: format, split fractions, limits.
        inputs: `datasets["upload"]` is a folder with the file `upload` (and `upload.name`, its original name), or
            with the file `upload.public` (the name of a public data set), or with the file `upload.root` (the URL of
            pictures used in place) and the folder `content` (where they are on this machine), or else itself the
            folder of pictures used in place.
        run: progress, stop, scratch folder.

    Returns:
        `dataset`: the validated data set; `files`: `report.json` and `preview.png`; `details["report"]`: the report.

    Raises:
        InvalidDatasetError: with every problem that was found; `report.json` is in the run's folder then too.
        DiskFullError: there is no room.
        Stopped: the run was asked to stop.
    """
    started = time.monotonic()
    upload = Upload.find(inputs.datasets["upload"])
    problems, watch = Problems(), Watch(run)
    report = upload_report(upload)
    dataset, scratch = run.folder / "dataset", run.folder / "unpacked"
    dataset.mkdir(parents=True)
    try:
        collected = _collect(upload, config, scratch, dataset, problems, watch)
        if collected is not None:
            report |= _check(collected, config, problems)
        if collected is None or problems.fatal:
            raise InvalidDatasetError(problems.errors(), report | problems_report(problems))
        data = _store(collected, dataset, watch)
        report |= manifest_report(data.manifest)
        report["near_duplicates"] = _similar(collected, data, config, problems, watch)
        (run.folder / "preview.png").write_bytes(_preview(data))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        report |= problems_report(problems) | {"seconds": round(time.monotonic() - started, 3)}
        (run.folder / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    run.progress(1.0, "data set is valid")
    files = {"report.json": run.folder / "report.json", "preview.png": run.folder / "preview.png"}
    return Outcome(dataset=dataset, files=files, details={"report": report})


def _collect(
    upload: Upload, config: ValidationConfig, scratch: Path, target: Path, problems: Problems, watch: Watch
) -> Collected | None:
    """Read the upload; None when nothing can be read, with the reason among the problems."""
    try:
        return collect(upload, config, scratch, target, problems, watch)
    except ArchiveError as error:
        problems.error("archive", str(error), file=error.member)
    except PublicDatasetError as error:
        problems.error("public", str(error))
    except DataError as error:
        problems.error("upload", str(error))
    return None


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
