"""Seeded, stratified splits."""

import numpy as np
from numpy.typing import NDArray

from libs.data.sampling import apportion

_SPLIT = 4


def stratified_split(labels: NDArray[np.int64], fractions: dict[str, float], seed: int) -> NDArray[np.str_]:
    """Give every picture a split name, [N].

    Classes are split one by one, so shares hold within each class; a class with at least as many pictures
    as there are splits appears in every split. Depends on the order of `labels` and the seed only.

    Args:
        labels: int64 [N].
        fractions: split → share; shares sum to 1, splits with share 0 stay empty.
        seed: of the shuffle.
    """
    rng = np.random.default_rng([_SPLIT, seed])
    names = [name for name, share in fractions.items() if share > 0]
    weights = np.array([round(fractions[name] * 1_000_000) for name in names], dtype=np.int64)
    assigned = np.empty(len(labels), dtype="<U5")
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        takes = apportion(weights, len(members))
        assigned[members] = np.repeat(names, takes)
    return assigned
