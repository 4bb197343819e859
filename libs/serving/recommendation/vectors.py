"""The item vectors of a model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libs.serving.bundle import NextItemBundle
from libs.serving.errors import LoadError
from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.ranking import Floats

VECTORS_FILE = "item_vectors.npy"
_BLOCK_ROWS = 65_536
_PRODUCT_ROWS = 8_192
_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class ItemVectors:
    """Vectors and the reciprocals of their lengths.

    Attributes:
        table: [I + 1, d], row 0 zeros; mapped from the file, so that processes of one machine share it.
        inverse_norms: [I + 1]; 0 for a vector of zeros, whose cosine with anything is 0.
    """

    table: Floats
    inverse_norms: Floats

    def unit(self, numbers: Numbers) -> Floats:
        """Vectors of length 1, [n, d]."""
        return self.table[numbers] * self.inverse_norms[numbers, None]

    def products(self, features: Floats) -> Floats:
        """Scores of every item for features [N, d], [N, I + 1].

        Some rows of the table at a time, times all features: BLAS reads the table as it lies. `features @ table.T` has
        it rearrange the table first, which takes longer than the product (100,000 items of 64 numbers, 8 features:
        7.2 against 2.7 ms), and what a block gives is brought into rows while it is in the processor's cache.
        """
        if len(features) == 1:
            alone: Floats = (self.table @ features[0])[None]
            return alone
        scores = np.empty((len(features), len(self.table)), np.float32)
        for begin in range(0, len(self.table), _PRODUCT_ROWS):
            block = self.table[begin : begin + _PRODUCT_ROWS]
            scores[:, begin : begin + len(block)] = (block @ features.T).T
        return scores

    def rows_at_once(self) -> int:
        """Rows of features whose scores fit in 64 MB."""
        return max(1, _BLOCK_BYTES // (4 * len(self.table)))

    def cosines(self, number: int) -> Floats:
        """Cosine of every item with one, [I + 1]."""
        cosines: Floats = self.table @ (self.table[number] * self.inverse_norms[number])
        cosines *= self.inverse_norms
        return cosines


def read_vectors(folder: Path, bundle: NextItemBundle) -> ItemVectors:
    """Map `item_vectors.npy`.

    Raises:
        LoadError: it cannot be read, has another shape or type, or holds NaN or infinity.
    """
    try:
        table = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise LoadError(f"{VECTORS_FILE} cannot be read: {error}") from error
    shape = (bundle.items + 1, bundle.width)
    if table.dtype != np.float32 or table.shape != shape or not table.flags.c_contiguous:
        raise LoadError(f"{VECTORS_FILE} holds {table.dtype} {list(table.shape)}, wanted float32 {list(shape)} by rows")
    if table[0].any():
        raise LoadError(f"row 0 of {VECTORS_FILE} is padding and must be zeros")
    plain = np.asarray(table)
    return ItemVectors(plain, _inverse_norms(plain))


def _inverse_norms(table: Floats) -> Floats:
    blocks = [table[begin : begin + _BLOCK_ROWS] for begin in range(0, len(table), _BLOCK_ROWS)]
    norms = np.concatenate([np.linalg.norm(block, axis=1) for block in blocks])
    if not np.isfinite(norms).all():
        raise LoadError(f"{VECTORS_FILE} holds numbers that are not finite or too large to compare")
    inverse: Floats = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    return inverse
