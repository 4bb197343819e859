"""What training users' events say of the pairs of items in a sequence, for models that attend by relations.

Training, measuring and serving read the same tables. In a bundle they are

    cooccurrence.npz   keys int64 [P], rising: a * (I + 1) + b of the pairs a < b that some training user had both of;
                       counts int32 [P]: of how many users; item_users int32 [I + 1]: users who have an item
    factors.npy        float32 [F + 1, I + 1, R]: Phi, whose products approach the co-occurrence kernel; table f without
                       the users of fold f, the last of all users. Row 0 is 0. R is 0 where no graph reads them
    users.parquet      index, id, fold and items: index counts from 1; fold says which table of factors is theirs, and F
                       that model.onnx knows them as user 0, the unknown one, for want of training events; items are
                       those of their training part, empty where own shares stay in

A user's own share is taken out of the counts: what they had together themselves says nothing of what goes together,
but is there for every pair of their training part and hardly for one with what comes next.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.data.errors import DataError
from libs.data.events.cooccurrence import Cooccurrence, UserItems
from libs.data.events.store import Longs

Floats = NDArray[np.float32]
COUNTS_FILE, FACTORS_FILE, USERS_FILE = "cooccurrence.npz", "factors.npy", "users.parquet"


@dataclass(frozen=True, slots=True)
class RelationTables:
    """Counts and factors of items, and whose share is taken out.

    Attributes:
        cooccurrence: over all training users.
        factors: Phi, [F + 1, I + 1, R].
        folds: table of factors of each user, [U + 1]; F for user 0 and for users whose training events teach nothing.
        own: the users' training parts; None leaves their shares in.
    """

    cooccurrence: Cooccurrence
    factors: Floats
    folds: NDArray[np.int64]
    own: UserItems | None

    def known(self, users: Longs) -> Longs:
        """The users as a model knows them: 0, the unknown one, instead of those whose own rows were never trained."""
        return np.where(self.folds[users] < self.folds[0], users, 0)

    def factors_of(self, items: Longs, users: Longs) -> Floats:
        """Rows of Phi for sequences, [B, n, R].

        Args:
            items: ids [B, n], right-padded with 0.
            users: counted from 1, 0 for unknown, [B].
        """
        return self.factors[self.folds[users][:, None], items]

    def counts_of(self, items: Longs, users: Longs) -> tuple[Floats, Floats]:
        """N of all pairs of a sequence, [B, n, n], and c of its items, [B, n], without the user's own share."""
        together = self.cooccurrence.within(items)
        alone = self.cooccurrence.item_users[items]
        if self.own is not None:
            had = self.own.contains(users, items)
            together = together - (had[:, :, None] & had[:, None, :] & (together > 0))
            alone = alone - had
        return together.astype(np.float32), alone.astype(np.float32)

    def inputs_of(self, items: Longs, users: Longs, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """What a graph takes besides items and lengths, of these names; arguments as in `factors_of`.

        users [B] (`known`), factors [B, n, R], shape [B, n, n] (`cooccurrence_shape`), kernel [B, n, n]
        (`cooccurrence_kernel`).
        """
        found: dict[str, NDArray[Any]] = {"users": self.known(users)} if "users" in names else {}
        if "factors" in names:
            found["factors"] = self.factors_of(items, users)
        if {"shape", "kernel"} & set(names):
            together, alone = self.counts_of(items, users)
            made = {"shape": cooccurrence_shape(together, items), "kernel": cooccurrence_kernel(together, alone)}
            found |= {name: array for name, array in made.items() if name in names}
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> "RelationTables":
        """Itself: copies of a model read the same tables, which never change."""
        return self


def cooccurrence_shape(together: Floats, items: Longs) -> Floats:
    """Attention times how often two items go together, a^ / max(a^) [B, n, n]: row t says it of the items up to t.

    a^_j = sum_k c_jk c_kt over the k up to t; the count of an item with itself, which means nothing, is replaced by its
    mean count with the others, as of that row (Ji et al. 2020). The numpy form of `libs.models.rksa.shape`.
    """
    same = items[:, :, None] == items[:, None, :]
    counts = np.where(same, np.float32(0), together)
    totals = counts.cumsum(-1).transpose(0, 2, 1)
    repeats = same.astype(np.float32).cumsum(-1).transpose(0, 2, 1)
    others = np.arange(1, items.shape[1] + 1, dtype=np.float32)[:, None] - repeats
    diagonal = np.where(others > 0, totals / np.maximum(others, 1), np.float32(0))
    through = (counts @ np.triu(counts)).transpose(0, 2, 1)
    newest = np.diagonal(diagonal, axis1=1, axis2=2)[:, :, None]
    own = np.diagonal(repeats, axis1=1, axis2=2)[:, :, None] * newest
    raw = np.tril(through + counts.transpose(0, 2, 1) * (repeats * diagonal + own) + same * own * newest)
    largest = raw.max(-1, keepdims=True, initial=0)
    shape: Floats = np.where(largest > 0, raw / np.maximum(largest, 1e-30), 0).astype(np.float32)
    return shape


def cooccurrence_kernel(together: Floats, alone: Floats) -> Floats:
    """N_ij / sqrt(c_i c_j) with a unit diagonal, [B, n, n]; the numpy form of `libs.models.rksa.kernels`."""
    inverse = np.where(alone > 0, 1 / np.sqrt(np.maximum(alone, 1)), 0).astype(np.float32)
    kernel: Floats = together * inverse[:, :, None] * inverse[:, None, :]
    diagonal = np.arange(kernel.shape[1])
    kernel[:, diagonal, diagonal] = 1
    return kernel


def save_tables(tables: RelationTables, user_ids: pl.Series, folder: Path) -> list[str]:
    """Write the three files; returns their names.

    Args:
        user_ids: id of each user, in the order of their numbers.
    """
    together, own = tables.cooccurrence, tables.own
    np.savez(
        folder / COUNTS_FILE,
        keys=together.keys,
        counts=together.counts,
        item_users=together.item_users,
        most_neighbours=np.int64(together.most_neighbours or 0),
    )
    np.save(folder / FACTORS_FILE, tables.factors, allow_pickle=False)
    lengths = np.diff(own.offsets) if own is not None else np.zeros(len(user_ids), np.int64)
    _users_frame(user_ids, tables.folds[1:], lengths, own).write_parquet(folder / USERS_FILE)
    return [COUNTS_FILE, FACTORS_FILE, USERS_FILE]


def _users_frame(user_ids: pl.Series, folds: Longs, lengths: Longs, own: UserItems | None) -> pl.DataFrame:
    index = np.arange(1, len(user_ids) + 1)
    rows = pl.DataFrame({"index": np.repeat(index, lengths), "items": own.items if own is not None else _NO_ITEMS})
    lists = rows.group_by("index", maintain_order=True).agg("items")
    users = pl.DataFrame({"index": index, "id": user_ids, "fold": folds})
    empty = pl.lit([], pl.List(pl.Int32))
    return users.join(lists, "index", how="left", maintain_order="left").with_columns(pl.col("items").fill_null(empty))


_NO_ITEMS = np.zeros(0, np.int32)


def open_tables(folder: Path) -> RelationTables:
    """The tables of a bundle; factors are memory-mapped.

    Raises:
        DataError: a file is missing, of another type, or they do not fit together.
    """
    try:
        with np.load(folder / COUNTS_FILE, allow_pickle=False) as arrays:
            most = int(arrays["most_neighbours"])
            counts = Cooccurrence(arrays["keys"], arrays["counts"], arrays["item_users"], most or None)
        factors = np.load(folder / FACTORS_FILE, mmap_mode="r", allow_pickle=False)
        users = pl.read_parquet(folder / USERS_FILE, columns=["fold", "items"])
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        raise DataError(f"The tables of items that go together cannot be read: {error}") from None
    if factors.ndim != 3 or factors.shape[1] != len(counts.item_users) or len(counts.keys) != len(counts.counts):
        raise DataError(f"Factors {factors.shape} do not fit to counts of {len(counts.item_users) - 1} items.")
    folds = np.concatenate([[len(factors) - 1], users["fold"].to_numpy()]).astype(np.int64)
    if len(folds) and (folds.min() < 0 or folds.max() >= len(factors)):
        raise DataError(f"{USERS_FILE} names a fold that {FACTORS_FILE}, with {len(factors)} tables, does not have.")
    offsets = np.concatenate([[0], np.cumsum(users["items"].list.len().to_numpy())]).astype(np.int64)
    items = users["items"].explode(empty_as_null=False).to_numpy().astype(np.int32)
    return RelationTables(counts, factors, folds, UserItems(offsets, items) if offsets[-1] else None)
