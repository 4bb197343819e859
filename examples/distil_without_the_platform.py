"""Teach a small digit classifier by a larger one, with few labels and many pictures without: no server, no queue.

    python -m examples.distil_without_the_platform [FOLDER]

The teacher learns from 600 labelled digits. The student gets 100 labels, and 700 pictures without labels that the
teacher has not seen either. Takes about a minute on one core. Interrupted with Ctrl-C and started again on the same
FOLDER, it goes on from its newest checkpoint.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from libs.data.write import write_arrays_dataset
from libs.models.afd import train as afd
from libs.models.afd.config import AfdConfig
from libs.models.supervised import train as supervised
from libs.models.supervised.config import SupervisedConfig
from libs.training.local_run import LocalRun
from libs.training.run import Inputs, Outcome

CLASSES = [str(digit) for digit in range(10)]


def main(folder: Path) -> None:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    pictures, labels = np.round(x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)[order], y[order].astype(np.int64)
    val, test = slice(1400, 1500), slice(1500, None)
    labelled(folder / "many", pictures, labels, slice(0, 600), val, test)
    labelled(folder / "few", pictures, labels, slice(600, 700), val, test)
    others = pictures[700:1400]
    write_arrays_dataset(folder / "unlabelled", others, np.full(len(others), -1), [], ["train"] * len(others))

    torch.set_num_threads(1)  # pictures this small gain nothing from more
    with LocalRun(folder / "teacher", seed=0) as run:
        teacher = supervised.train(
            SupervisedConfig(model="resnet20", epochs=20), Inputs({"train": folder / "many"}), run
        )
    few = {"train": folder / "few", "unlabelled": folder / "unlabelled"}
    with LocalRun(folder / "alone", seed=0) as run:
        alone = supervised.train(
            SupervisedConfig(model="resnet8", epochs=50, batch_size=32), Inputs({"train": folder / "few"}), run
        )
    assert teacher.bundle is not None
    with LocalRun(folder / "student", seed=0) as run:
        config = AfdConfig(model="resnet8", epochs=50, batch_size=32)
        student = afd.train(config, Inputs(few, {"teacher": teacher.bundle}), run)

    for name, outcome in (("teacher", teacher), ("student alone", alone), ("student, taught", student)):
        print(f"{name:16} test accuracy {outcome.metrics['test/accuracy']:.1%}, {parameters(outcome):,} parameters")
    print(f"student and teacher agree on {student.details['comparison']['agreement']:.1%} of the test pictures")
    print(f"model  {student.bundle}\nreport {student.report}/report.html\nlinks  {student.files['links.json']}")


def labelled(folder: Path, pictures: np.ndarray, labels: np.ndarray, *parts: slice) -> None:
    """A data set of three parts: to train, to validate, to test."""
    chosen = [np.arange(len(labels))[part] for part in parts]
    splits = [name for name, part in zip(("train", "val", "test"), chosen, strict=True) for _ in part]
    rows = np.concatenate(chosen)
    write_arrays_dataset(folder, pictures[rows], labels[rows], CLASSES, splits)


def parameters(outcome: Outcome) -> int:
    return int(outcome.details["parameters"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="distilled-digits-")))
