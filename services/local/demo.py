"""`make demo`: from nothing to a prediction, on this machine, with the time of each step.

Starts the stack (or uses the one that runs), uploads scikit-learn's handwritten digits, trains a classifier with FRSKD,
serves it, asks it about one picture, and stops what it started.
"""

import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from libs.client.cli.datasets import summary_of
from libs.client.cli.follow import follow
from libs.client.client import Octavo
from services.local.demo_run import Steps, console, deploy, run

NAME = "digits"
SETTINGS = {"model": "resnet8", "epochs": 6, "lr": 0.1}
"""A small network for 8x8 pictures, so that a first look takes seconds."""


def show_everything(octavo: Octavo, steps: Steps) -> None:
    """Data, training, deployment, prediction."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, answers = digits()
        archive = Path(folder) / f"{NAME}.zip"
        with steps.step(f"Uploading {len(pictures)} pictures of handwritten digits and validating them"):
            write_zip(pictures, answers, archive)
            version = octavo.datasets.wait_ready(octavo.datasets.upload(NAME, archive))
            console.print(f"{version.reference} is ready: {summary_of(version)}")
        with steps.step("Training a classifier with FRSKD"):
            job = octavo.jobs.submit("frskd", datasets={"train": version.reference}, config=SETTINGS)
            made = (follow(octavo, job.id).result or {})["model"]
            console.print(f"model {made['name']}@{made['version']} is {made['status']}")
        with steps.step("Serving it"):
            served = deploy(octavo, made["name"], made["version"])
            console.print(f"{octavo.url}/v1/classify/{served.name} answers with version {served.loaded_version}")
        with steps.step("Asking it about one picture"):
            ask(octavo, made["name"], pictures[0], answers[0])  # of the test split: the model has not seen it


def digits() -> tuple[Any, Any]:
    """scikit-learn's digits: pictures uint8 [N, 8, 8] and answers [N]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * (255 / 16)).astype("uint8"), found.target


def png(pixels: Any) -> bytes:
    """A picture file of pixels uint8 [H, W]."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_zip(pictures: Any, answers: Any, archive: Path) -> None:
    """Folders as a user would pack them: one a class below `train` and `test`; every fifth picture is for the test."""
    with zipfile.ZipFile(archive, "w") as packed:
        for number, (pixels, answer) in enumerate(zip(pictures, answers, strict=True)):
            split = "train" if number % 5 else "test"
            packed.writestr(f"{split}/{answer}/{number:04d}.png", png(pixels))


def ask(octavo: Octavo, model: str, pixels: Any, answer: int) -> None:
    """Predict one picture and show it."""
    found = octavo.predict(model, png(pixels), top_k=3)
    for row in pixels:
        console.print("  " + "".join(" .:-=+*#%@"[int(value) * 9 // 255] * 2 for value in row), markup=False)
    guesses = ", ".join(f"{one.label} ({one.probability:.1%})" for one in found.predictions)
    console.print(f"It is a {answer}. The model says: {guesses}")


if __name__ == "__main__":
    sys.exit(run(show_everything, ("sklearn", "PIL")))
