"""The task `evaluate`: measure a registered model on a data set, and show a classifier's worst pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from libs.data.images import ImageSplit
from libs.jobs.tasks import EvaluateConfig
from libs.models.sequences.config import beside_of
from libs.serving.bundle import ClassifierBundle, NextItemBundle
from libs.serving.errors import MismatchError
from libs.serving.evaluation_report import WorstPicture, write_report
from libs.serving.folder import read_bundle
from libs.serving.pictures import answer, batches
from libs.serving.probabilities import log_softmax
from libs.serving.scores import Scores
from libs.serving.session import ModelSession
from libs.serving.task_inputs import check_stop, folders_of, open_task_inputs
from libs.training.run import Inputs, Outcome, Run


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pass over the pictures gave.

    Attributes:
        scores: sums over all of them.
        positions: int64 [n], of the pictures counted, in the split.
        predicted: int64 [n], the model's classes.
        confidence: float64 [n], their probabilities.
        errors: position → why a picture could not be read or answered for.
    """

    scores: Scores
    positions: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    errors: dict[int, str]


_OF_RECOMMENDERS = "libs.models.sequences.evaluate"
"""Loaded by name where it runs, as methods are: it ranks with torch, which servers do without."""


def run(config: EvaluateConfig, inputs: Inputs, run: Run) -> Outcome:
    """Measure the model; see `libs.jobs.tasks.EvaluateConfig`.

    Returns:
        Of a classifier `<split>/accuracy`, `balanced_accuracy`, `nll`, `ece`, `brier`, of a recommender
        `<split>/ndcg@10` and the like; a report folder.

    Raises:
        MismatchError: the data set has no labels, or labels the model does not know; or a classifier is to be measured
            beside others.
        DataError: the data set holds other data than the model reads, or nothing to measure on.
        Stopped: the run was asked to stop; it starts anew next time.
    """
    beside = beside_of(inputs)
    own = Inputs(inputs.datasets, {role: folder for role, folder in inputs.models.items() if role not in beside})
    model, data = folders_of(own)
    if isinstance(read_bundle(model), NextItemBundle):
        evaluate = import_module(_OF_RECOMMENDERS).evaluate
        measured: Outcome = evaluate(model, data, beside, config.split, config.batch_size, run)
        return measured
    if beside:
        raise MismatchError("Only a recommender is measured beside others, and this model classifies pictures.")
    return _evaluate_classifier(config, own, run)


def _evaluate_classifier(config: EvaluateConfig, inputs: Inputs, run: Run) -> Outcome:
    opened = open_task_inputs(inputs, run)
    split = opened.data.split(config.split)
    to_model = map_labels(opened.data.manifest.classes, opened.bundle.labels)
    measured = measure(opened.session, opened.bundle, split, to_model, config.batch_size, run)
    figures = {f"{config.split}/{name}": value for name, value in measured.scores.figures().items()}
    for name, value in figures.items():
        run.metric(name, value, 0)
    if measured.errors:
        run.log(f"{len(measured.errors)} pictures could not be read or answered for and were left out", "warning")
    run.progress(1.0, "writing the report")
    worst = _worst(measured, split, to_model, config.worst)
    report = run.folder / "report"
    write_report(report, opened.bundle, split, measured.scores, figures, worst, measured.errors)
    details = {"pictures": measured.scores.pictures, "unreadable": len(measured.errors), "split": config.split}
    return Outcome(metrics=figures, report=report, details=details)


def map_labels(classes: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """The model's class for each class of the data set, by name: int64 [len(classes)].

    Raises:
        MismatchError: the data set has no labels, or some that the model does not know.
    """
    if not classes:
        raise MismatchError("The data set has no labels, so nothing can be measured. Use `predict` instead.")
    position = {label: index for index, label in enumerate(labels)}
    unknown = [name for name in classes if name not in position]
    if unknown:
        raise MismatchError(
            f"The model does not know {len(unknown)} of the data set's {len(classes)} classes: "
            f"{_shown(unknown)}. It knows: {_shown(labels)}."
        )
    return np.array([position[name] for name in classes], np.int64)


def measure(
    session: ModelSession,
    bundle: ClassifierBundle,
    split: ImageSplit,
    to_model: NDArray[np.int64],
    batch_size: int,
    run: Run,
) -> Measured:
    """One pass over the labelled pictures of a split.

    Raises:
        MismatchError: no picture has a label, can be read and is given a finite answer.
        Stopped: the run was asked to stop.
    """
    scores = Scores(list(bundle.labels))
    kept: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    confidence: list[NDArray[np.float64]] = []
    errors: dict[int, str] = {}
    for read in batches(split, bundle.recipe, batch_size):
        check_stop(run)
        batch, logits = answer(read, session)
        errors |= batch.errors
        labelled = split.labels[batch.positions] >= 0
        positions = batch.positions[labelled]
        if len(positions):
            said = log_softmax(logits[labelled], bundle.temperature)
            scores.add(said, to_model[split.labels[positions]])
            kept.append(positions)
            predicted.append(said.argmax(axis=1))
            confidence.append(np.exp(said.max(axis=1)))
        run.progress((batch.start + batch.looked_at) / len(split), "measuring")
    if not kept:
        raise MismatchError(f"None of the {len(split)} pictures has a label, can be read and answered for.")
    return Measured(scores, np.concatenate(kept), np.concatenate(predicted), np.concatenate(confidence), errors)


def _worst(measured: Measured, split: ImageSplit, to_model: NDArray[np.int64], count: int) -> list[WorstPicture]:
    """The pictures whose true class got the least probability, worst first."""
    nll = measured.scores.nll
    labels = measured.scores.labels
    return [
        WorstPicture(
            position=int(measured.positions[index]),
            name=split.name_of(int(measured.positions[index])),
            truth=labels[to_model[split.labels[measured.positions[index]]]],
            predicted=labels[measured.predicted[index]],
            probability_of_truth=float(np.exp(-nll[index])),
            probability_of_predicted=float(measured.confidence[index]),
        )
        for index in np.argsort(-nll, kind="stable")[:count]
    ]


def _shown(names: Sequence[str]) -> str:
    more = f" … ({len(names) - 10} more)" if len(names) > 10 else ""
    return ", ".join(repr(name) for name in names[:10]) + more
