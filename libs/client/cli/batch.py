"""`octavo predict MODEL FOLDER --out predictions.csv`: a batch job over every picture of a folder."""

import hashlib
from pathlib import Path

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
    if as_json:
        print_json({"job": job.id, "file": str(out), "metrics": (job.result or {}).get("metrics", {})})
    else:
        console().print(f"Written: {out}", markup=False)


def _dataset_name(folder: Path) -> str:
    """A name for the pictures, the same for the same folder, so that a repeat becomes its next version."""
    place = str(folder.resolve())
    return f"pictures-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
