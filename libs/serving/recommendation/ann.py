"""An index that finds most of the best items of a large catalogue without looking at every one.

Inverted lists (Sivic and Zisserman 2003; faiss' IVF): items lie in about 4 sqrt(I) lists by the nearest of as many
centres, 8 bits a number, and a search looks into the lists of `PROBES` centres. What it finds is scored anew with the
exact vectors (`libs.serving.recommendation.candidates`), so an index costs recall, never a wrong score.

The index is built when a model is first loaded, and kept beside the bundle's folder for the next start.
"""

import math
import os
import uuid
from contextlib import suppress
from pathlib import Path

import faiss
import numpy as np

from libs.serving.bundle import NextItemBundle
from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.vectors import VECTORS_FILE

PROBES = 32
OVER_FETCH = 4
_TRAINING_ROWS_PER_LIST = 40
_ADD_ROWS = 65_536


class ItemIndex:
    """A search structure over item vectors; `search` may be called from any thread."""

    def __init__(self, index: faiss.IndexIVFScalarQuantizer) -> None:
        self._index = index

    @classmethod
    def build(cls, table: Floats, seed: int = 0) -> "ItemIndex":
        """An index of the vectors [I + 1, d] of items 1 to I."""
        items, width = len(table) - 1, table.shape[1]
        lists = max(1, min(int(4 * math.sqrt(items)), items // _TRAINING_ROWS_PER_LIST))
        centres = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFScalarQuantizer(
            centres, width, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        sample = np.random.default_rng(seed).permutation(items)[: lists * _TRAINING_ROWS_PER_LIST] + 1
        index.train(np.ascontiguousarray(table[np.sort(sample)]))
        for begin in range(1, items + 1, _ADD_ROWS):
            rows = np.ascontiguousarray(table[begin : begin + _ADD_ROWS])
            index.add_with_ids(rows, np.arange(begin, begin + len(rows), dtype=np.int64))
        return cls(index)

    def search(self, features: Floats, k: int, excluded: int = 0, probes: int = PROBES) -> Numbers:
        """Items with high scores for features [d]: four times `k`, and as many more as single items are excluded.

        Returns:
            [at most that many], each once, in no order to rely on.
        """
        faiss.omp_set_num_threads(1)  # of this thread alone: requests run side by side already
        wanted = min(OVER_FETCH * k + excluded, self._index.ntotal)
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = probes
        _, found = self._index.search(np.ascontiguousarray(features[None]), wanted, params=parameters)
        numbers: Numbers = found[0]
        return numbers[numbers > 0]

    def save(self, file: Path) -> None:
        """Write the index; the file is complete or absent."""
        temporary = file.with_name(f".record-{uuid.uuid4().hex}")
        faiss.write_index(self._index, os.fspath(temporary))
        temporary.replace(file)

    @classmethod
    def load(cls, file: Path, items: int, width: int) -> "ItemIndex | None":
        """The index in a file; None when there is none, or it is damaged or another's."""
        try:
            index = faiss.read_index(os.fspath(file))
        except RuntimeError:  # faiss has one class for all of them
            return None
        if not isinstance(index, faiss.IndexIVFScalarQuantizer) or (index.ntotal, index.d) != (items, width):
            return None
        return cls(index)


def open_index(folder: Path, bundle: NextItemBundle, table: Floats) -> ItemIndex:
    """The index kept beside a bundle's folder, `<folder>.<digest of the vectors>.ann`; it is built where there is none.

    A cache that cannot be written keeps nothing, and the next start builds it again.
    """
    file = folder.with_name(f"{folder.name}.{bundle.files[VECTORS_FILE][:16]}.ann")
    index = ItemIndex.load(file, bundle.items, bundle.width)
    if index is None:
        index = ItemIndex.build(table)
        with suppress(OSError, RuntimeError):
            index.save(file)
    return index
