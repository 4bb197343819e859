"""The best of many scores, exactly and always in the same order."""

import numpy as np
from numpy.typing import NDArray

from libs.serving.recommendation.catalogue import Numbers

Floats = NDArray[np.float32]

_GROUP = 64


def top_k(scores: Floats, k: int) -> Numbers:
    """Places of the `k` highest scores, highest first, equal ones by place; -inf is no candidate.

    The k-th highest of the maxima of disjoint groups is at most the k-th highest score, so only what reaches it is
    sorted: two passes over the scores instead of a selection among all of them.

    Args:
        scores: [n], without NaN.

    Returns:
        [at most k].
    """
    candidates = np.flatnonzero(scores >= _reach(scores, k))
    values = scores[candidates]
    if len(candidates) > k:
        last = np.partition(values, len(values) - k)[len(values) - k]
        above = candidates[values > last]
        candidates = np.concatenate([above, candidates[values == last][: k - len(above)]])
        values = scores[candidates]
    return candidates[np.lexsort((candidates, -values))]


def _reach(scores: Floats, k: int) -> np.float32:
    """What each of the `k` highest scores reaches."""
    groups = len(scores) // _GROUP
    lowest = np.float32(np.finfo(np.float32).min)
    if groups < k:
        return lowest
    maxima = scores[: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
    return max(lowest, np.partition(maxima, groups - k)[groups - k])
