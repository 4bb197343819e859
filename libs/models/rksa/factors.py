"""Cross-fitted factors of the co-occurrence kernel: D^-1/2 B'B D^-1/2 ~ Phi Phi', B users x items.

A user's own row of B must not be in the factors that read the user's sequence, or the model learns from counts that
hold the answer. So users fall into folds, and a sequence reads the factors made without its own.
Only products of rows of one table count, so the tables need no common basis.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from libs.data.events.chunks import user_chunks
from libs.data.events.cooccurrence import UserItems
from libs.data.events.store import Longs

_ITERATIONS = 4
_SURPLUS = 10
_ROWS_AT_A_TIME = 1 << 18


def folds_of(sets: UserItems, folds: int, seed: int) -> Longs:
    """Fold of each user, [U + 1], drawn by the seed; `folds`, the table of all, for user 0 and those read as user 0.

    These are users with less than two items in training: they have no pair to leave out, and no row of theirs learns.
    """
    drawn = np.random.default_rng(seed).integers(0, folds, len(sets.offsets) - 1)
    return np.concatenate([[folds], np.where(np.diff(sets.offsets) > 1, drawn, folds)])


def cross_fitted_factors(sets: UserItems, num_items: int, folds: Longs, rank: int, seed: int) -> NDArray[np.float32]:
    """Phi of all users but those of each fold, and last of all users: [folds + 1, num_items + 1, rank].

    Args:
        folds: from `folds_of`.
    """
    tables = int(folds[0]) + 1
    found = np.zeros((tables, num_items + 1, rank), np.float32)
    for table in range(tables):
        included = torch.from_numpy((folds[1:] != table) | (table == tables - 1))
        factors = kernel_factors(sets, num_items, rank, seed, included)
        found[table, :, : factors.shape[1]] = factors.numpy()
    return found


def kernel_factors(sets: UserItems, num_items: int, rank: int, seed: int, included: Tensor) -> Tensor:
    """Phi [num_items + 1, at most rank] of the users included, by block power iteration and a Nystroem step.

    The Nystroem form A Q (Q'AQ)^-1 Q'A never exceeds A, so that no row is longer than 1 even before it converged.
    Not renormalised: what a row lacks to 1 is the item's own variance.
    """
    counts = _counts(sets, num_items, included)
    root = torch.where(counts > 0, counts.clamp_min(1).rsqrt(), 0.0).unsqueeze(1)
    generator = torch.Generator().manual_seed(seed)
    width = min(rank + _SURPLUS, num_items)
    basis = torch.linalg.qr(root * torch.randn(num_items + 1, width, generator=generator)).Q
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(_gram_times(sets, included, root, basis)).Q
    image = _gram_times(sets, included, root, basis).double()
    values, vectors = torch.linalg.eigh(basis.double().T @ image)
    sound = values > 1e-7 * values.max().clamp_min(1e-30)
    factors = image @ (vectors[:, sound] * values[sound].rsqrt())
    _, turned = torch.linalg.eigh(factors.T @ factors)
    best: Tensor = (factors @ turned.flip(1)[:, :rank]).float()
    return best


def _gram_times(sets: UserItems, included: Tensor, root: Tensor, columns: Tensor) -> Tensor:
    """D^-1/2 B'B D^-1/2 X, [I + 1, r], a block of users at a time."""
    scaled = root * columns
    total = torch.zeros_like(columns)
    for users, items, offsets in _blocks(sets):
        sums = F.embedding_bag(items, scaled, offsets[:-1], mode="sum") * included[users].unsqueeze(1)
        total.index_add_(0, items, sums.repeat_interleave(offsets.diff(), dim=0))
    return root * total


def _counts(sets: UserItems, num_items: int, included: Tensor) -> Tensor:
    counts = torch.zeros(num_items + 1)
    for users, items, offsets in _blocks(sets):
        counts.index_add_(0, items, included[users].float().repeat_interleave(offsets.diff()))
    return counts


def _blocks(sets: UserItems) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Users, their items, and where each one's begin."""
    for chunk in user_chunks(sets.offsets, _ROWS_AT_A_TIME):
        items = torch.from_numpy(sets.items[chunk.rows].astype(np.int64))
        offsets = sets.offsets[chunk.users.start : chunk.users.stop + 1] - chunk.rows.start
        yield chunk.users, items, torch.from_numpy(offsets)
