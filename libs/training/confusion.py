"""Which classes a classifier takes for which, in numpy: counted for the reports of trainings and of evaluations."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def count_pairs(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> list[tuple[int, int, int]]:
    """(true class, predicted class, pictures) of every pair in two rows [n] of classes, in the order of the classes."""
    codes, counts = np.unique(truth * classes + predicted, return_counts=True)
    return [(*divmod(int(code), classes), int(count)) for code, count in zip(codes, counts, strict=True)]


def confusion_matrix(pairs: Iterable[tuple[int, int, int]], classes: int) -> NDArray[np.int64]:
    """The pairs as a matrix int64 [K, K], true class by predicted class: for few classes."""
    matrix = np.zeros((classes, classes), np.int64)
    for true, predicted, count in pairs:
        matrix[true, predicted] = count
    return matrix
