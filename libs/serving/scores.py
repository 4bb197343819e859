"""Figures of a classifier from its probabilities, in numpy: what training reports by torch, for evaluation jobs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libs.training.confusion import count_pairs

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

    Memory grows with pictures and classes, not with pairs of classes: there may be 100,000 of those.

    Attributes:
        brier_sum: of the squared distances of probabilities and one-hot labels.
        nll: float64 [n] for each picture, in nats.
    """

    labels: list[str]
    brier_sum: float = 0.0
    _truth: list[NDArray[np.int64]] = field(default_factory=list)
    _predicted: list[NDArray[np.int64]] = field(default_factory=list)
    _nll: list[NDArray[np.float64]] = field(default_factory=list)
    _bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, BINS)))

    def add(self, log_probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
        """Count pictures: logarithms of probabilities [n, K], true classes [n]."""
        rows = np.arange(len(truth))
        probabilities = np.exp(log_probabilities)
        predicted = probabilities.argmax(axis=1)
        self._truth.append(np.asarray(truth, np.int64))
        self._predicted.append(predicted)
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
        return sum(map(len, self._truth))

    @property
    def nll(self) -> NDArray[np.float64]:
        """Negative log-likelihood of each picture, in the order they were counted."""
        return np.concatenate(self._nll) if self._nll else np.empty(0)

    def figures(self) -> dict[str, float]:
        """Accuracy, balanced accuracy (mean recall of the classes seen), NLL, ECE (15 bins) and Brier score."""
        seen, _, right = self._by_class()
        recall = right[seen > 0] / seen[seen > 0]
        pictures, confidence, right_in_bin = self._bins
        total = self.pictures
        return {
            "accuracy": float(right.sum() / total),
            "balanced_accuracy": float(recall.mean()),
            "nll": float(self.nll.mean()),
            "ece": float(np.abs(right_in_bin - confidence)[pictures > 0].sum() / total),
            "brier": self.brier_sum / total,
        }

    def by_class(self) -> list[ClassScore]:
        """Precision and recall of every class, in the model's order."""
        columns = (counts.tolist() for counts in self._by_class())
        return [
            ClassScore(
                label=label,
                pictures=seen,
                predicted=predicted,
                precision=right / predicted if predicted else None,
                recall=right / seen if seen else None,
            )
            for label, seen, predicted, right in zip(self.labels, *columns, strict=True)
        ]

    def pairs(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, pictures) of every pair that came, in the order of the classes."""
        return count_pairs(*self._all(), len(self.labels))

    def _by_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """How often each class was there, was predicted, and was predicted rightly: [K] each."""
        truth, predicted = self._all()
        seen, called, right = (
            np.bincount(some, minlength=len(self.labels)) for some in (truth, predicted, truth[truth == predicted])
        )
        return seen, called, right

    def _all(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        empty = np.empty(0, np.int64)
        return np.concatenate([empty, *self._truth]), np.concatenate([empty, *self._predicted])

    def reliability(self) -> list[dict[str, float | int]]:
        """Mean confidence and accuracy in each bin of confidence that holds pictures."""
        return [
            {"from": index / BINS, "pictures": int(n), "confidence": float(c / n), "accuracy": float(a / n)}
            for index, (n, c, a) in enumerate(self._bins.T)
            if n
        ]
