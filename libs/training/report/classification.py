"""Sections about a classifier measured on a split. Everything is numpy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.training.confusion import confusion_matrix, count_pairs
from libs.training.report.charts import reliability_chart
from libs.training.report.page import Block, Chart, Gallery, Matrix, Section, Table, Thumbnail
from libs.training.report.pictures import picture_uri

MATRIX_CLASSES = 25
WORST_PICTURES = 24
CONFUSED_PAIRS = 20


@dataclass(frozen=True, slots=True)
class Bins:
    """A reliability diagram; each attribute [bins]."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    pictures: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassifierResult:
    """A classifier on one split.

    Attributes:
        split: its name.
        classes: label names, K.
        labels: [N].
        probabilities: [N, K], with the temperature applied.
        per_class: `precision`, `recall`, `f1`, `pictures`, each [K].
        raw: reliability before the temperature.
        calibrated: and after.
        picture: the picture at a position of the split, uint8 [H, W, C].
        name: what the picture is called.
    """

    split: str
    classes: Sequence[str]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    per_class: Mapping[str, NDArray[np.float64]]
    raw: Bins
    calibrated: Bins
    picture: Callable[[int], NDArray[np.uint8]]
    name: Callable[[int], str]

    def pairs(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, pictures) of every pair that came, in the order of the classes."""
        return count_pairs(self.labels, self.probabilities.argmax(1), len(self.classes))


def classifier_sections(result: ClassifierResult, temperature: float) -> list[Section]:
    """Confusion, classes, calibration, worst pictures."""
    return [
        Section(f"Confusion on the {result.split} split", _confusion_text(result), [_confusion(result)]),
        Section("Classes", "", [_class_table(result)]),
        Section(
            "Calibration",
            f"A temperature of {temperature:.3g}, fitted on the validation split, divides the logits. "
            "On the diagonal, confidence can be taken at its word.",
            [_reliability(result.raw, "before"), _reliability(result.calibrated, "after temperature")],
        ),
        Section(
            "Worst pictures",
            f"Pictures of the {result.split} split whose true class got the least probability.",
            [_worst_gallery(result)],
        ),
    ]


def _confusion_text(result: ClassifierResult) -> str:
    wrong = int((result.probabilities.argmax(1) != result.labels).sum())
    return f"{wrong:,} of {len(result.labels):,} pictures are wrong. Rows are true classes, columns predictions."


def _confusion(result: ClassifierResult) -> Block:
    if len(result.classes) > MATRIX_CLASSES:
        return _confused_pairs(result)
    confusion = confusion_matrix(result.pairs(), len(result.classes))
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = [
        [(int(count), float(share)) for count, share in zip(counts, row, strict=True)]
        for counts, row in zip(confusion, shares, strict=True)
    ]
    return Matrix(list(result.classes), cells)


def _confused_pairs(result: ClassifierResult) -> Table:
    """The commonest confusions, where a matrix would be too large to read."""
    mistakes = sorted((pair for pair in result.pairs() if pair[0] != pair[1]), key=lambda pair: -pair[2])
    rows = [
        [result.classes[true], result.classes[predicted], f"{pictures:,}"]
        for true, predicted, pictures in mistakes[:CONFUSED_PAIRS]
    ]
    return Table(["true class", "taken for", "pictures"], rows, frozenset({2}), "The commonest mistakes")


def _class_table(result: ClassifierResult) -> Table:
    figures = result.per_class
    rows = [
        [
            name,
            f"{int(figures['pictures'][k]):,}",
            *(f"{figures[column][k]:.3f}" for column in ("precision", "recall", "f1")),
        ]
        for k, name in enumerate(result.classes)
    ]
    return Table(["class", "pictures", "precision", "recall", "F1"], rows, frozenset({1, 2, 3, 4}))


def _reliability(bins: Bins, name: str) -> Chart:
    shares = bins.pictures / max(bins.pictures.sum(), 1)
    error = float((shares * np.abs(bins.confidence - bins.accuracy)).sum())
    svg = reliability_chart(bins.confidence, bins.accuracy, bins.pictures, name)
    return Chart(svg, f"Reliability {name}: ECE {error:.3f}")


def worst_positions(result: ClassifierResult, limit: int) -> list[int]:
    """Positions of the pictures whose true class got the least probability, worst first."""
    truth = result.probabilities[np.arange(len(result.labels)), result.labels]
    return [int(position) for position in np.argsort(truth, kind="stable")[:limit]]


def _worst_gallery(result: ClassifierResult) -> Gallery:
    return Gallery([_thumbnail(result, position) for position in worst_positions(result, WORST_PICTURES)])


def _thumbnail(result: ClassifierResult, position: int) -> Thumbnail:
    probabilities, label = result.probabilities[position], int(result.labels[position])
    predicted = int(probabilities.argmax())
    return Thumbnail(
        picture_uri(result.picture(position)),
        f"{result.classes[label]} → {result.classes[predicted]}",
        f"{probabilities[label]:.1%} → {probabilities[predicted]:.1%}, {result.name(position)}",
    )
