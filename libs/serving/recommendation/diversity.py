"""Maximal marginal relevance (Carbonell and Goldstein 1998): relevant items that are unlike those before them.

    next = argmax over i not chosen of  (1 - diversity) relevance(i) - diversity max over j chosen of cos(i, j)

relevance is the score, brought to [0, 1] over the pool, which holds the `pool_size(k)` best candidates. The first item
is the one with the highest score. Equal values go to the better score, then to the lower item number.
"""

import numpy as np

from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.ranking import Floats

_POOL_PER_ITEM = 5
_SMALLEST_POOL = 100


def pool_size(k: int) -> int:
    """How many of the best candidates are looked at for `k` items."""
    return max(_POOL_PER_ITEM * k, _SMALLEST_POOL)


def diversify(scores: Floats, unit_vectors: Floats, k: int, diversity: float) -> Numbers:
    """Places of `k` items of a pool, in the order in which they are chosen.

    Args:
        scores: of the pool, highest first, [P].
        unit_vectors: of the pool, [P, d].
    """
    spread = float(scores[0] - scores[-1]) if len(scores) else 0.0
    relevance = (scores - scores[-1]) / spread if spread > 0 else np.zeros_like(scores)
    closest = np.full(len(scores), -np.inf, np.float32)
    value = relevance.astype(np.float64)
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores)):
        best = int(value.argmax())
        chosen.append(best)
        np.maximum(closest, unit_vectors @ unit_vectors[best], out=closest)
        value = (1 - diversity) * relevance - diversity * closest
        value[chosen] = -np.inf
    return np.array(chosen, np.int64)
