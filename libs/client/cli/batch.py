"""`octavo predict MODEL FOLDER --out predictions.csv`: a batch job over every picture of a folder."""

import contextlib
import csv
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from libs.client.cli.follow import follow
from libs.client.cli.output import connect, console, print_json
from libs.client.errors import InvalidRequestError, LocalFileError, OctavoError
from libs.client.folder_tar import visible_files

if TYPE_CHECKING:
    from libs.client.client import Octavo

_CSV = "predictions.csv"
_OPTIONS = {"format": "pictures", "max_broken_fraction": 1.0, "near_duplicates": False}


def predict_folder(model: str, folder: Path, out: Path, top_k: int, as_json: bool) -> None:
    """Send the folder, predict every picture, fetch the table. Every file gets its row, with an error where it must.

    The data set that carries the pictures is deleted once the job has ended.

    Raises:
        LocalFileError: the folder has no files, or `out` cannot be written.
        NotFoundError: there is no such model; nothing was sent.
        InvalidRequestError: it recommends items; nothing was sent.
    """
    if out.exists() and not out.is_file():
        raise LocalFileError(f"{out} is no file; name one with --out.")
    files = [path.relative_to(folder).as_posix() for path in visible_files(folder)]
    dataset = f"pictures-{uuid4().hex[:12]}"
    with connect() as octavo:
        _check_classifies(octavo, model)
        version = octavo.datasets.upload(dataset, folder, options=_OPTIONS, description=f"pictures of {folder.name}")
        try:
            version = octavo.datasets.wait_ready(version)
            report = octavo.datasets.report(version.dataset, version.version)
            job_id = _predict(octavo, model, version.reference, top_k, out, as_json)
        except (Exception, KeyboardInterrupt):  # SystemExit means: the job goes on, unwatched, and needs the pictures
            with contextlib.suppress(OctavoError):
                octavo.datasets.delete(dataset)
            raise
        octavo.datasets.delete(dataset)
    left_out = add_left_out(out, files, report)
    if as_json:
        print_json({"job": job_id, "file": str(out), "left_out": left_out})
        return
    without = f"; {left_out} files have no prediction, and their rows say why" if left_out else ""
    console().print(f"Written: {out}{without}", markup=False)


def _check_classifies(octavo: "Octavo", model: str) -> None:
    if octavo.models.version(model).task == "next-item":
        ask = "octavo recommend NAME --items ITEM,ITEM"
        detail = f"{model!r} recommends items and predicts no pictures. Deploy it, then ask it: {ask}"
        raise InvalidRequestError(422, "wrong_task", detail)


def _predict(octavo: "Octavo", model: str, data: str, top_k: int, out: Path, as_json: bool) -> str:
    """Run the job and fetch its table; the job's id."""
    submitted = octavo.jobs.submit("predict", models={"model": model}, datasets={"data": data}, config={"top_k": top_k})
    job = follow(octavo, submitted.id, as_json=as_json)
    table = next((one for one in octavo.jobs.artifacts(job.id) if one.name == _CSV), None)
    if table is None:
        raise OctavoError(f"Job {job.id} left no {_CSV}; `octavo jobs artifacts {job.id}` lists what it made.")
    octavo.jobs.download_artifact(job.id, table, out)
    return job.id


def add_left_out(table: Path, files: Sequence[str], report: Mapping[str, Any]) -> int:
    """Add a row for every file of the folder that validation left out; how many those are.

    Args:
        files: names below the folder.
        report: what validation found; it says of the first hundred broken pictures what is wrong with them.
    """
    said = {one.get("file"): one.get("message", "") for one in report.get("problems", [])}
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns, there = list(reader.fieldnames or []), {row["path"] for row in reader}
    names = (unicodedata.normalize("NFC", name) for name in files)  # as the platform writes them
    missing = [name for name in names if name not in there]
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writerows({"path": name, "error": said.get(name) or _NO_PICTURE} for name in missing)
    return len(missing)


_NO_PICTURE = "it was left out: no picture that can be read"
