"""The items a model will know: those of training events, the most frequent first."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from libs.data.events.chunks import ROWS_AT_A_TIME, user_chunks
from libs.data.events.filters import Flags
from libs.data.events.store import Items, Longs


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Numbers of items as they are stored.

    Attributes:
        numbers: by number of the spool; from 1, 0 for items that are left out.
        ids: by number, without padding.
        training_counts: by number, without padding.
    """

    numbers: Items
    ids: pl.Series
    training_counts: Longs


@dataclass(frozen=True, slots=True)
class Cold:
    """What items cost that no training event has.

    Attributes:
        items: how many there are.
        events: of validation and testing that have them, by split.
        users: of validation and testing left without any target, by split.
    """

    items: int
    events: dict[str, int]
    users: dict[str, int]


def training_counts(items: Items, offsets: Longs, ends: Longs, num_items: int) -> Longs:
    """How often each item occurs among the training events, [num_items]."""
    counts = np.zeros(num_items, np.int64)
    for chunk in user_chunks(offsets, ROWS_AT_A_TIME):
        rows = np.arange(chunk.rows.start, chunk.rows.stop)
        training = rows < ends[chunk.users, 0][chunk.owners]
        counts += np.bincount(items[chunk.rows][training], minlength=num_items)
    return counts


def vocabulary_of(known: Flags, counts: Longs, ids: pl.Series) -> Vocabulary:
    """Number the known items by falling training count, equal ones by id.

    Args:
        known: by number of the spool.
        counts: training events, likewise.
        ids: likewise.
    """
    frame = pl.DataFrame({"code": np.arange(len(known), dtype=np.uint32), "id": ids, "count": counts})
    ordered = frame.filter(pl.Series(known)).sort(["count", "id"], descending=[True, False])
    numbers = np.zeros(len(known), np.int32)
    numbers[ordered["code"].to_numpy()] = np.arange(1, len(ordered) + 1, dtype=np.int32)
    return Vocabulary(numbers, ordered["id"], ordered["count"].to_numpy())


def drop_unknown(items: Items, offsets: Longs, ends: Longs, numbers: Items) -> tuple[Flags, Cold]:
    """Flags of the events whose item has a number, [N], and what the others cost.

    Args:
        items: numbers of the spool, [N].
        numbers: of the vocabulary; 0 for cold items. Training events have none of those.
    """
    alive = np.zeros(len(items), np.bool_)
    cold_items: set[int] = set()
    events, users = {"val": 0, "test": 0}, {"val": 0, "test": 0}
    for chunk in user_chunks(offsets):
        known = numbers[items[chunk.rows]] > 0
        alive[chunk.rows] = known
        cold_items.update(np.unique(items[chunk.rows][~known]).tolist())
        rows = np.arange(chunk.rows.start, chunk.rows.stop)
        val, test = (column[chunk.owners] for column in ends[chunk.users].T)
        for split, held in (("val", (rows >= val) & (rows < test)), ("test", rows >= test)):
            had = np.bincount(chunk.owners[held])
            left = np.bincount(chunk.owners[held & known], minlength=len(had))
            events[split] += int((held & ~known).sum())
            users[split] += int(((had > 0) & (left == 0)).sum())
    return alive, Cold(len(cold_items), events, users)
