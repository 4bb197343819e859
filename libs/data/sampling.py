"""Which pictures a run sees, in which order. Everything is a pure function of seed and labels; no torch."""

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError

_ORDER, _SAMPLE, _DRAWS = 1, 2, 3  # keeps the streams of one seed apart


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """A permutation of `count` positions for one epoch, int64 [count]."""
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(count)


def endless_order(seed: int, start: int, stop: int, count: int) -> NDArray[np.int64]:
    """Positions `start` to `stop` of an endless row of permutations of `count` positions, int64 [stop - start]."""
    first, last = start // count, (stop - 1) // count
    row = np.concatenate([epoch_order(seed, number, count) for number in range(first, last + 1)])
    return row[start - first * count : stop - first * count]


def epoch_draws(seed: int, epoch: int, count: int, draws: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) for the augmentation of every picture, [count, draws].

    A picture's row depends on seed, epoch and its position only: not on order, batch, worker or rank.
    """
    return np.random.default_rng([_DRAWS, seed, epoch]).random((count, draws))


def stratified_sample(labels: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Sorted positions of a random sample whose class shares follow those of `labels`.

    Shares are rounded by largest remainder; every class keeps at least one picture when `size` allows it.

    Raises:
        DataError: `size` exceeds the number of labels.
    """
    if size > len(labels):
        raise DataError(f"A sample of {size} pictures was asked for, but there are only {len(labels)}.")
    rng = np.random.default_rng([_SAMPLE, seed])
    _, of_class, counts = np.unique(labels, return_inverse=True, return_counts=True)
    take = apportion(counts, size)
    picked = [rng.choice(np.flatnonzero(of_class == k), take[k], replace=False) for k in range(len(counts))]
    return np.sort(np.concatenate(picked))


def apportion(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Split `size` over classes in proportion to `counts` (largest remainder), int64 [K].

    When `size` is at least the number of classes, every class that has pictures gets at least one.
    """
    shares = counts * (size / counts.sum())
    take: NDArray[np.int64] = np.floor(shares).astype(np.int64)
    take[np.argsort(-(shares - take), kind="stable")[: size - take.sum()]] += 1
    missing = np.flatnonzero((take == 0) & (counts > 0))
    if size >= np.count_nonzero(counts):
        for k in missing:
            take[np.argmax(take)] -= 1
            take[k] += 1
    return take


def balanced_class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weights inverse to class frequency with mean 1 over the pictures: n / (K n_k), float32 [K].

    A class without pictures has weight 0.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights
