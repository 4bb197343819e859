"""Seeded, stratified splits."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from libs.data.manifest import Split
from libs.data.sampling import apportion

_SPLIT = 4  # keeps this stream of a seed apart from those of `libs.data.sampling`


def stratified_split(labels: NDArray[np.int64], fractions: Mapping[Split, float], seed: int) -> list[Split]:
    """Give every picture a split.

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
    chosen = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen[members] = np.repeat(np.arange(len(names)), apportion(weights, len(members)))
    return [names[position] for position in chosen]
