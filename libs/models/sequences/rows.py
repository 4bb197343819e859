"""Rows of item and user tables that go on in a model of newer events, where ids have other numbers, new and lost ones.

A new item starts from what is known of it, [ours]: the mean of the vectors of the items its training users had beside
it, each as often as users had both; without such items, the mean of those with the same value of each category; without
these, the mean of all items that go on. Sums are made by users, so that no table of items by items is ever there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.data.errors import DataError
from libs.data.events.chunks import user_chunks
from libs.data.events.cooccurrence import UserItems, training_items
from libs.data.events.dataset import EventData
from libs.data.events.ids import IdMap
from libs.data.events.store import Longs

if TYPE_CHECKING:  # slow to import, and needed for new items alone
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]


def rows_by_id(ids: Sequence[str], known: Sequence[str]) -> Longs:
    """Row of each id in a table of `known` ids, counted from 1; -1 without one. Row 0 of both is no id, [ids + 1]."""
    table = pl.DataFrame({"id": pl.Series(known, dtype=pl.String)}).with_row_index("row", offset=1)
    found = pl.DataFrame({"id": pl.Series(ids, dtype=pl.String)}).join(table, "id", how="left", maintain_order="left")
    return np.concatenate([[0], found["row"].cast(pl.Int64).fill_null(-1).to_numpy()]).astype(np.int64)


def rows_in(folder: Path, data: EventData, who: str = "The model") -> Longs:
    """Row of each item of a data set in the tables of a bundle, -1 for one that it does not know, [I + 1].

    Args:
        who: what an error calls the bundle.

    Raises:
        DataError: it knows none of them.
    """
    rows = rows_by_id(data.items.all_ids(), IdMap(folder / "items.parquet", 1).all_ids())
    if not (rows > 0).any():
        raise DataError(f"{who} knows none of the data set's {data.manifest.items} items by id.")
    return rows


@dataclass(frozen=True, slots=True)
class Start:
    """Where the rows of new items come from: numbers of items, for the log."""

    by_cooccurrence: int
    by_category: int
    by_mean: int


class ItemRows:
    """Item rows of a model that goes on with the items of newer events.

    Attributes:
        rows: row of each item in the old table, -1 for new ones, [I + 1].
        is_new: [I + 1].
        lost: items the model knew and the events do not have.

    Args:
        known: ids of the items the model knows, in the order of their numbers.
    """

    def __init__(self, data: EventData, known: Sequence[str]) -> None:
        self._data = data
        self.rows = rows_by_id(data.items.all_ids(), known)
        self.is_new = self.rows < 0
        self.lost = len(known) - int((self.rows > 0).sum())

    def carried(self, table: Tensor) -> tuple[Tensor, Start]:
        """The table [I + 1, d] of the newer events' items, from the old one, and where its new rows are from."""
        old = table.double().numpy()
        vectors = np.where(self.is_new[:, None], 0.0, old[np.maximum(self.rows, 0)])
        going_on = ~self.is_new
        going_on[0] = False
        beside, met = self._beside(vectors, going_on)
        alike, described = self._alike(vectors, going_on)
        by_category = self.is_new & ~met & described
        by_mean = self.is_new & ~met & ~described
        vectors[self.is_new & met] = beside[self.is_new & met]
        vectors[by_category] = alike[by_category]
        vectors[by_mean] = vectors[going_on].mean(0)
        start = Start(int((self.is_new & met).sum()), int(by_category.sum()), int(by_mean.sum()))
        return torch.from_numpy(vectors).to(table.dtype), start

    def _beside(self, vectors: Floats, going_on: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
        """Mean vector of the known items beside each item, [I + 1, d], and whether there are any, [I + 1]."""
        found = np.zeros((len(vectors), vectors.shape[1] + 1))
        if self.is_new.any():
            counted = np.column_stack([vectors, going_on])
            for had in _incidence(training_items(self._data.events), len(vectors)):
                found[self.is_new] += had[:, self.is_new].T @ (had @ counted)
        return found[:, :-1] / np.maximum(found[:, -1:], 1), found[:, -1] > 0

    def _alike(self, vectors: Floats, going_on: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
        """Mean over the categories of an item of the mean vector of the known items with the same value."""
        from scipy.sparse import csr_array

        sums, hits = np.zeros_like(vectors), np.zeros(len(vectors))
        names = [feature.name for feature in self._data.manifest.item_features if feature.type == "category"]
        for name in names if self.is_new.any() else []:
            values = self._data.items.features([name])[name].rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
            groups = np.concatenate([[0], values])
            counts = np.bincount(groups, going_on, minlength=groups.max() + 1)
            member = csr_array((going_on.astype(float), (groups, np.arange(len(groups)))))
            means = (member @ vectors) / np.maximum(counts, 1)[:, None]
            usable = (groups > 0) & (counts[groups] > 0)
            sums[usable] += means[groups[usable]]
            hits += usable
        return sums / np.maximum(hits, 1)[:, None], hits > 0


def _incidence(sets: UserItems, width: int) -> Iterator["csr_array"]:
    """Which user had which item in training, users by items, 1 or 0; some users at a time."""
    from scipy.sparse import csr_array

    for chunk in user_chunks(sets.offsets):
        offsets = sets.offsets[chunk.users.start : chunk.users.stop + 1] - chunk.rows.start
        items = sets.items[chunk.rows]
        yield csr_array((np.ones(len(items)), items, offsets), shape=(len(offsets) - 1, width))
