"""The task `predict`: what a model says of every picture, as CSV. A picture without an answer gets a row too."""

import csv
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.images import ImageSplit
from libs.jobs.tasks import PredictConfig
from libs.serving.bundle import ClassifierBundle
from libs.serving.pictures import Batch, answer, batches
from libs.serving.probabilities import softmax
from libs.serving.task_inputs import check_stop, open_task_inputs
from libs.training.run import Inputs, Outcome, Run

COLUMNS = ("id", "path", "label", "probability", "top_k", "error")
"""`top_k` is JSON: [[label, probability], …], best first. `label` and `probability` are its first entry."""


def run(config: PredictConfig, inputs: Inputs, run: Run) -> Outcome:
    """Predict; see `libs.jobs.tasks.PredictConfig`.

    Returns:
        The file `predictions.csv`; how many pictures were predicted and how many could not be read.

    Raises:
        Stopped: the run was asked to stop; it starts anew next time.
    """
    opened = open_task_inputs(inputs, run)
    split = opened.data.split(config.split)
    file = run.folder / "predictions.csv"
    failed = 0
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for read in batches(split, opened.bundle.recipe, config.batch_size):
            check_stop(run)
            batch, logits = answer(read, opened.session)
            writer.writerows(_rows(batch, logits, split, opened.bundle, config.top_k))
            failed += len(batch.errors)
            run.progress((batch.start + batch.looked_at) / len(split), "predicting")
    if failed:
        run.log(f"{failed} pictures could not be read or answered for; their rows say why", "warning")
    details = {"pictures": len(split) - failed, "unreadable": failed, "split": config.split}
    return Outcome(metrics={"predicted": float(len(split) - failed)}, files={file.name: file}, details=details)


def _rows(
    batch: Batch, logits: NDArray[np.float32], split: ImageSplit, bundle: ClassifierBundle, top_k: int
) -> Iterator[tuple[Any, ...]]:
    """CSV rows of one batch, in the order of the split."""
    said = _best(batch, logits, bundle, top_k)
    for position in range(batch.start, batch.start + batch.looked_at):
        picture = (int(split.ids[position]), split.name_of(position))
        if position in batch.errors:
            yield (*picture, "", "", "", batch.errors[position])
            continue
        best = said[position]
        yield (*picture, best[0][0], best[0][1], json.dumps(best, ensure_ascii=False), "")


def _best(
    batch: Batch, logits: NDArray[np.float32], bundle: ClassifierBundle, top_k: int
) -> dict[int, list[tuple[str, float]]]:
    """Position → the `top_k` most probable labels with their probabilities."""
    if not len(batch.positions):
        return {}
    probabilities = softmax(logits, bundle.temperature)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    return {
        int(position): [(bundle.labels[index], round(float(row[index]), 6)) for index in best]
        for position, row, best in zip(batch.positions, probabilities, order, strict=True)
    }
