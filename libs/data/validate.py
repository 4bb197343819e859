"""Checking an upload and making a data set of it: the `validate-dataset` job."""

import json
import shutil
import time
from pathlib import Path

from libs.data.config import ValidationConfig
from libs.data.errors import ArchiveError, DataError, InvalidDatasetError, PublicDatasetError
from libs.data.validation.kind import kind_of
from libs.data.validation.pictures import validate_pictures
from libs.data.validation.report import problems_report, upload_report
from libs.data.validation.tables import validate_tables
from libs.data.validation.upload import Upload
from libs.data.validation.watch import Watch
from libs.data.validation.work import Work
from libs.training.run import Inputs, Outcome, Run


def run(config: ValidationConfig, inputs: Inputs, run: Run) -> Outcome:
    """Validate an upload of pictures or of events.

    Args:
        config: kind, format, split, limits.
        inputs: `datasets["upload"]` is a folder with the file `upload` (and `upload.name`, its original name), or
            with the file `upload.public` (the name of a public data set), or with the file `upload.root` (the URL of
            a folder used in place) and the folder `content` (where it is on this machine), or else itself the
            folder used in place.
        run: progress, stop, scratch folder.

    Returns:
        `dataset`: the validated data set; `files`: `report.json`, and `preview.png` of pictures; `details["report"]`:
        the report.

    Raises:
        InvalidDatasetError: with every problem that was found; `report.json` is in the run's folder then too.
        DiskFullError: there is no room.
        Stopped: the run was asked to stop.
    """
    started = time.monotonic()
    upload = Upload.find(inputs.datasets["upload"])
    work = Work(run.folder / "dataset", run.folder / "unpacked", Watch(run), report=upload_report(upload))
    work.dataset.mkdir(parents=True)
    report_file = run.folder / "report.json"
    try:
        files = _validate(upload, config, work)
        if work.problems.fatal:
            raise InvalidDatasetError(work.problems.errors(), work.report | problems_report(work.problems))
    finally:
        shutil.rmtree(work.scratch, ignore_errors=True)
        work.report.update(problems_report(work.problems) | {"seconds": round(time.monotonic() - started, 3)})
        report_file.write_text(json.dumps(work.report, indent=2, ensure_ascii=False), encoding="utf-8")
    run.progress(1.0, "data set is valid")
    return Outcome(
        dataset=work.dataset, files={"report.json": report_file, **files}, details={"report": dict(work.report)}
    )


def _validate(upload: Upload, config: ValidationConfig, work: Work) -> dict[str, Path]:
    """Read the upload as what it is; when nothing can be read, the reason is among the problems."""
    problems = work.problems
    try:
        if kind_of(upload, config) == "events":
            return validate_tables(upload, config, work)
        return validate_pictures(upload, config, work)
    except ArchiveError as error:
        problems.error("archive", str(error), file=error.member)
    except PublicDatasetError as error:
        problems.error("public", str(error))
    except DataError as error:
        problems.error("upload", str(error))
    return {}
