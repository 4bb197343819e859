"""Figures of a classifier from its probabilities, in numpy: what training reports by torch, for evaluation jobs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class. A figure is None where nothing of the class was seen (recall) or predicted (precision)."""

    label: str
    pictures: int
    predicted: int
    precision: float | None
    recall: float | None


@dataclass(slots=True)
class Scores:
    """Sums over the pictures seen so far, for `labels` in the model's order.

    Attributes:
        confusion: int64 [K, K], true class by predicted class.
        brier_sum: of the squared distances of probabilities and one-hot labels.
        nll: float64 [n] for each picture, in nats.
    """

    labels: list[str]
    confusion: NDArray[np.int64] = field(init=False)
    brier_sum: float = 0.0
    _nll: list[NDArray[np.float64]] = field(default_factory=list)
    _bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, BINS)))

    def __post_init__(self) -> None:
        self.confusion = np.zeros((len(self.labels), len(self.labels)), np.int64)

    def add(self, log_probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
        """Count pictures: logarithms of probabilities [n, K], true classes [n]."""
        rows = np.arange(len(truth))
        probabilities = np.exp(log_probabilities)
        predicted = probabilities.argmax(axis=1)
        np.add.at(self.confusion, (truth, predicted), 1)
        self._nll.append(-log_probabilities[rows, truth])
        squares = np.square(probabilities).sum(axis=1)
        self.brier_sum += float((squares - 2 * probabilities[rows, truth] + 1).sum())
        confidence = probabilities[rows, predicted]
        index = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        for row, weights in enumerate((np.ones(len(truth)), confidence, (predicted == truth).astype(np.float64))):
            self._bins[row] += np.bincount(index, weights, BINS)

    @property
    def pictures(self) -> int:
        """How many were counted."""
        return int(self.confusion.sum())

    @property
    def nll(self) -> NDArray[np.float64]:
        """Negative log-likelihood of each picture, in the order they were counted."""
        return np.concatenate(self._nll) if self._nll else np.empty(0)

    def figures(self) -> dict[str, float]:
        """Accuracy, balanced accuracy (mean recall of the classes seen), NLL, ECE (15 bins) and Brier score."""
        seen = self.confusion.sum(axis=1)
        recall = np.diag(self.confusion)[seen > 0] / seen[seen > 0]
        pictures, confidence, right = self._bins
        total = self.pictures
        return {
            "accuracy": float(np.trace(self.confusion) / total),
            "balanced_accuracy": float(recall.mean()),
            "nll": float(self.nll.mean()),
            "ece": float(np.abs(right - confidence)[pictures > 0].sum() / total),
            "brier": self.brier_sum / total,
        }

    def by_class(self) -> list[ClassScore]:
        """Precision and recall of every class, in the model's order."""
        return [self._of_class(index, label) for index, label in enumerate(self.labels)]

    def reliability(self) -> list[dict[str, float | int]]:
        """Mean confidence and accuracy in each bin of confidence that holds pictures."""
        return [
            {"from": index / BINS, "pictures": int(n), "confidence": float(c / n), "accuracy": float(a / n)}
            for index, (n, c, a) in enumerate(self._bins.T)
            if n
        ]

    def _of_class(self, index: int, label: str) -> ClassScore:
        right = int(self.confusion[index, index])
        seen, predicted = int(self.confusion[index].sum()), int(self.confusion[:, index].sum())
        return ClassScore(
            label=label,
            pictures=seen,
            predicted=predicted,
            precision=right / predicted if predicted else None,
            recall=right / seen if seen else None,
        )
