"""`octavo predict MODEL FOLDER --out predictions.csv`: a batch job over every picture of a folder."""

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from libs.client.cli.follow import follow
from libs.client.cli.output import connect, console, print_json
from libs.client.errors import LocalFileError, OctavoError

_CSV = "predictions.csv"


def predict_folder(model: str, folder: Path, out: Path, top_k: int, as_json: bool) -> None:
    """Send the folder, predict every picture, fetch the table. A bad picture gets a row with its error.

    Raises:
        LocalFileError: the folder has no files, or `out` cannot be written.
    """
    if out.exists() and not out.is_file():
        raise LocalFileError(f"{out} is no file; name one with --out.")
    with connect() as octavo:
        name = _dataset_name(folder)
        options = {"format": "pictures", "max_broken_fraction": 1.0, "near_duplicates": False}
        version = octavo.datasets.upload(name, folder, options=options, description=f"pictures of {folder.name}")
        version = octavo.datasets.wait_ready(version)
        submitted = octavo.jobs.submit(
            "predict", models={"model": model}, datasets={"data": version.reference}, config={"top_k": top_k}
        )
        job = follow(octavo, submitted.id, as_json=as_json)
        table = next((one for one in octavo.jobs.artifacts(job.id) if one.name == _CSV), None)
        if table is None:
            raise OctavoError(f"Job {job.id} left no {_CSV}; `octavo jobs artifacts {job.id}` lists what it made.")
        octavo.jobs.download_artifact(job.id, table, out)
        left_out = add_broken(out, octavo.datasets.report(version.dataset, version.version))
    if as_json:
        print_json({"job": job.id, "file": str(out), "broken": left_out})
        return
    broken = f"; {left_out} pictures could not be read" if left_out else ""
    console().print(f"Written: {out}{broken}", markup=False)


def add_broken(table: Path, report: Mapping[str, Any]) -> int:
    """Add a row with its error for each picture that validation left out; how many those are.

    The report lists the first hundred by name; the number is exact.
    """
    broken = [one for one in report.get("problems", []) if one.get("code") == "broken-picture"]
    with table.open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        writer.writerows({"path": one.get("file", ""), "error": one.get("message", "")} for one in broken)
    return int(report.get("broken", len(broken)))


def _dataset_name(folder: Path) -> str:
    """A name for the pictures, the same for the same folder, so that a repeat becomes its next version."""
    place = str(folder.resolve())
    return f"pictures-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
