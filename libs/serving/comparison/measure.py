"""One pass of a served model over the held-out pictures, and what one picture costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from libs.data.images import ImageSplit
from libs.serving.bundle import MODEL_FILE, ClassifierBundle
from libs.serving.comparison.macs import multiply_adds
from libs.serving.evaluate import map_labels
from libs.serving.folder import read_classifier_bundle
from libs.serving.pictures import answer, batches
from libs.serving.probabilities import log_softmax
from libs.serving.scores import Scores
from libs.serving.session import ModelSession
from libs.serving.task_inputs import check_stop
from libs.training.run import Run

BATCH_SIZE = 64
ROUNDS = 30
BUDGET_S = 20.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A model on the held-out pictures.

    Attributes:
        figures: accuracy, NLL and ECE as it is served, and the last two without its temperature. None for a model of
            other classes, and for one that could read no picture.
        recall: share of each class of the data set that was recognised; None where it has no pictures. Empty for a
            model of other classes.
        positions: int64 [n], of the labelled pictures that could be read.
        predicted: int64 [n], classes of the data set; -1: a class it has not.
        unreadable: position → why the model's recipe cannot read that picture, or that its answer is not finite.
    """

    figures: Mapping[str, float] | None
    recall: Sequence[float | None]
    positions: NDArray[np.int64]
    predicted: NDArray[np.int64]
    unreadable: Mapping[int, str]

    def on(self, positions: NDArray[np.int64]) -> "Measured":
        """The same beside models that read these pictures: without figures if it did not read just these.

        What is predicted of a picture it did not read is -1.
        """
        if np.array_equal(self.positions, positions):
            return self
        said = dict(zip(self.positions.tolist(), self.predicted.tolist(), strict=True))
        predicted = np.array([said.get(position, -1) for position in positions.tolist()], np.int64)
        return replace(self, figures=None, recall=[], positions=positions, predicted=predicted)


def measure(folder: Path, split: ImageSplit, threads: int, run: Run) -> Measured:
    """Run a model over a split.

    Raises:
        LoadError: the bundle is damaged.
        Stopped: the run was asked to stop.
    """
    bundle = read_classifier_bundle(folder)
    session = ModelSession(folder / MODEL_FILE, "cpu", threads=threads)
    classes = split.manifest.classes
    to_data = np.array([classes.index(label) if label in classes else -1 for label in bundle.labels], np.int64)
    same = set(bundle.labels) == set(classes)
    order = map_labels(classes, bundle.labels) if same else None
    served, uncalibrated = Scores(list(classes)), Scores(list(classes))
    positions: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    unreadable: dict[int, str] = {}
    for read in batches(split, bundle.recipe, BATCH_SIZE):
        check_stop(run)
        batch, answers = answer(read, session)
        unreadable |= batch.errors
        labelled = split.labels[batch.positions] >= 0
        kept = batch.positions[labelled]
        if not len(kept):
            continue
        logits = answers[labelled]
        positions.append(kept)
        predicted.append(to_data[logits.argmax(axis=1)])
        if order is not None:
            truth = split.labels[kept].astype(np.int64)
            served.add(log_softmax(logits[:, order], bundle.temperature), truth)
            uncalibrated.add(log_softmax(logits[:, order]), truth)
    empty = np.empty(0, np.int64)
    return Measured(
        figures=_figures(served, uncalibrated) if same and positions else None,
        recall=[one.recall for one in served.by_class()] if same else [],
        positions=np.concatenate(positions) if positions else empty,
        predicted=np.concatenate(predicted) if predicted else empty,
        unreadable=unreadable,
    )


def _figures(served: Scores, uncalibrated: Scores) -> dict[str, float]:
    figures, raw = served.figures(), uncalibrated.figures()
    kept = {name: figures[name] for name in ("accuracy", "nll", "ece")}
    return {**kept, "nll_uncalibrated": raw["nll"], "ece_uncalibrated": raw["ece"]}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model is and takes. `latency_ms` is the median wall time of one picture, one thread."""

    architecture: str
    parameters: int
    macs: int | None
    size_bytes: int
    latency_ms: float


def costs(folders: Mapping[str, Path]) -> dict[str, Cost]:
    """Measure models beside each other: in every round one picture goes through each of them."""
    bundles = {name: read_classifier_bundle(folder) for name, folder in folders.items()}
    sessions = {name: ModelSession(folder / MODEL_FILE, "cpu", threads=1) for name, folder in folders.items()}
    examples = {name: _blank(bundle) for name, bundle in bundles.items()}
    times: dict[str, list[float]] = {name: [] for name in folders}
    for name, session in sessions.items():
        session.run(examples[name])
    until = perf_counter() + BUDGET_S
    for rounds in range(ROUNDS):
        if rounds and perf_counter() > until:
            break
        for name, session in sessions.items():
            started = perf_counter()
            session.run(examples[name])
            times[name].append((perf_counter() - started) * 1e3)
    return {
        name: Cost(
            architecture=bundles[name].architecture,
            parameters=bundles[name].parameters,
            macs=multiply_adds(folder / MODEL_FILE),
            size_bytes=(folder / MODEL_FILE).stat().st_size,
            latency_ms=float(np.median(times[name])),
        )
        for name, folder in folders.items()
    }


def _blank(bundle: ClassifierBundle) -> NDArray[np.float32]:
    recipe = bundle.recipe
    return np.zeros((1, recipe.channels, recipe.height, recipe.width), np.float32)
