"""A comparison of classifiers, all trained by jobs of their own, on the pictures held out.

Every run has chosen its weights on the validation split, where there is one. The test split decides nothing: it is read
once by each run for its own report, and once here, for all of them together.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from libs.data.images import ImageSplit, open_images
from libs.models.compare_config import CompareConfig, run_name
from libs.serving.comparison.measure import Measured, costs, measure
from libs.serving.comparison.report import write_report
from libs.serving.comparison.results import compared
from libs.serving.errors import MismatchError
from libs.training.run import Inputs, Outcome, Run

TEACHER = "teacher"
MOST_STORED = 20_000_000
"""Predictions that are kept, of all runs together; two bytes each, or four where there are many classes."""


def compare(config: CompareConfig, inputs: Inputs, run: Run) -> Outcome:
    """Measure the models of all runs as they are served, and set them side by side.

    Args:
        inputs: the data set `train`; the model of every run, as `afd/0`; the model `teacher` where there is one.

    Returns:
        `afd/accuracy` and the like, means over the seeds, and `afd-supervised/accuracy`, mean paired differences;
        a report; the file `predictions.npz`: what every run says of every picture.

    Raises:
        MismatchError: nothing could be measured.
        DataError: the data set is damaged.
        Stopped: the run was asked to stop; it starts anew next time.
    """
    names = [*config.runs(), *([TEACHER] if TEACHER in inputs.models else [])]
    split = held_out(inputs.datasets["train"])
    threads = len(os.sched_getaffinity(0))
    found: dict[str, Measured] = {}
    for index, name in enumerate(names):
        run.progress(0.9 * index / len(names), f"measuring {name}")
        found[name] = measure(inputs.models[name], split, threads, run)
        if found[name].figures is None and name != TEACHER:
            raise MismatchError(f"Run {name} could not be measured: no labelled picture, or other classes.")
        if unreadable := found[name].unreadable:
            some = next(iter(unreadable.values()))
            run.log(f"{name} has no answer for {len(unreadable)} of {len(split)} pictures: {some}", "warning")
        if name != TEACHER and not np.array_equal(found[name].positions, found[names[0]].positions):
            raise MismatchError(f"The runs {names[0]} and {name} did not answer for the same pictures.")
    if TEACHER in found:  # it has a recipe of its own, which may want another size than the data has
        found[TEACHER] = found[TEACHER].on(found[names[0]].positions)
    run.progress(0.9, "measuring latency")
    arms = [arm.name for arm in config.arms()]
    result = compared(
        config,
        arms,
        split,
        {name: one for name, one in found.items() if name != TEACHER},
        found.get(TEACHER),
        costs(_first_of_each(arms, config.seeds, inputs.models)),
    )
    for sentence in result.arms.verdicts:
        run.log(sentence)
    write_report(run.folder / "report", result)
    return Outcome(
        metrics=result.arms.metrics(),
        report=run.folder / "report",
        files=_predictions(run, split, found),
        details={"split": result.split, "pictures": result.pictures, **result.arms.details()},
    )


def held_out(folder: Path) -> ImageSplit:
    """The test split of a data set, or the validation split where it has none."""
    data = open_images(folder)
    splits = data.manifest.splits
    return data.split("test" if "test" in splits and splits["test"].pictures else "val")


def _first_of_each(arms: Sequence[str], seeds: Sequence[int], models: Mapping[str, Path]) -> dict[str, Path]:
    """One model of each arm (other seeds have the same network), and the teacher."""
    first = {arm: models[run_name(arm, seeds[0])] for arm in arms}
    return first | ({TEACHER: models[TEACHER]} if TEACHER in models else {})


def _predictions(run: Run, split: ImageSplit, found: Mapping[str, Measured]) -> dict[str, Path]:
    """Ids and true classes of the pictures [n], names of the runs [r], and what each says [r, n]; -1: another class."""
    positions = next(iter(found.values())).positions
    if len(found) * len(positions) > MOST_STORED:
        run.log(f"{len(found)} runs of {len(positions)} pictures are too many predictions to keep", "warning")
        return {}
    classes = split.manifest.classes
    kind = np.int16 if len(classes) <= np.iinfo(np.int16).max else np.int32
    path = run.folder / "predictions.npz"
    np.savez_compressed(
        path,
        ids=split.ids[positions],
        truth=split.labels[positions].astype(kind),
        classes=np.array(classes),
        runs=np.array(list(found)),
        predicted=np.stack([one.predicted for one in found.values()]).astype(kind),
    )
    return {path.name: path}
