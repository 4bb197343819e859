"""An index that finds most of the best items of a large catalogue without looking at every one.

Inverted lists (Sivic and Zisserman 2003; faiss' IVF): items lie in about 4 sqrt(I) lists by the nearest of as many
centres, and a search looks into `_PROBES` of them. What it finds is scored anew with the exact vectors
(`libs.serving.recommendation.candidates`), so an index costs recall, never a wrong score.
"""

import math

import faiss
import numpy as np

from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.ranking import Floats

ANN_ABOVE_ITEMS = 500_000
"""Catalogues above this are served by an index unless the service says otherwise."""

_OVER_FETCH = 4
_PROBES = 32
_TRAINING_ROWS_PER_LIST = 40
_ADD_ROWS = 65_536


class ItemIndex:
    """A search structure over item vectors; `search` may be called from any thread."""

    def __init__(self, index: faiss.IndexIVF) -> None:
        self._index = index
        index.nprobe = min(_PROBES, index.nlist)

    @classmethod
    def build(cls, table: Floats, seed: int = 0) -> "ItemIndex":
        """An index of the vectors [I + 1, d] of items 1 to I."""
        items, width = len(table) - 1, table.shape[1]
        lists = max(1, min(int(4 * math.sqrt(items)), items // _TRAINING_ROWS_PER_LIST))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(seed).permutation(items)[: lists * _TRAINING_ROWS_PER_LIST] + 1
        index.train(np.ascontiguousarray(table[np.sort(sample)]))
        for begin in range(1, items + 1, _ADD_ROWS):
            rows = np.ascontiguousarray(table[begin : begin + _ADD_ROWS])
            index.add_with_ids(rows, np.arange(begin, begin + len(rows), dtype=np.int64))
        return cls(index)

    def search(self, features: Floats, k: int, excluded: int) -> Numbers:
        """Items with high scores for features [d]: four times `k` and as many more as single items are excluded.

        Returns:
            [at most that many], in no order to rely on.
        """
        faiss.omp_set_num_threads(1)  # of this thread; requests run side by side already
        wanted = min(_OVER_FETCH * k + excluded, self._index.ntotal)
        found: Numbers = self._index.search(features[None], wanted)[1][0]
        return found[found > 0]
