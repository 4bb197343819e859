"""Which items go together: how many training users had both, without an items x items array.

What it takes is bounded: 4 bytes a training event for the users' items, and a block of pairs; what it gives is as many
counts as there are pairs that some user had, or, cut short, at most so many for each item.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.data.events.chunks import ROWS_AT_A_TIME, UserChunk, user_chunks
from libs.data.events.store import EventStore, Items, Longs

Counts = NDArray[np.int32]
PAIRS_AT_A_TIME = 1 << 23
MOST_ITEMS_OF_A_USER = 1000
"""Items that a user contributes, the newest; [ours]. A user with n has n^2 pairs: a single account that met the whole
catalogue would cost more than all others together, and says nothing of what goes together."""


@dataclass(frozen=True, slots=True)
class UserItems:
    """The items that each user has in their training part, each once: the rows of the 0/1 matrix B.

    Of users with more than `MOST_ITEMS_OF_A_USER` the newest.

    Attributes:
        offsets: [U + 1].
        items: [M], rising within a user.
    """

    offsets: Longs
    items: Items

    def contains(self, users: Longs, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a user has an item, [B, n].

        Args:
            users: counted from 1, [B]; 0, the unknown user, has none.
            items: [B, n].
        """
        known = users > 0
        rows = np.where(known, users - 1, 0)
        begins = self.offsets[rows]
        lengths = np.where(known, self.offsets[rows + 1] - begins, 0)
        owners = np.repeat(np.arange(len(users)), lengths)
        places = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + begins[owners]
        width = int(max(items.max(initial=0), self.items.max(initial=0))) + 1
        own = owners * width + self.items[places]
        return member(own, np.arange(len(users))[:, None] * width + items)


@dataclass(frozen=True, slots=True)
class Cooccurrence:
    """N_ab, users who have both a and b, of pairs a < b; and c_a, users who have a.

    Attributes:
        keys: a * (num_items + 1) + b, rising, int64 [P].
        counts: N of each key, [P].
        item_users: c, [num_items + 1]; 0 for padding.
        most_neighbours: each item kept only so many of the items it was met with most; a pair stays if one of both
            kept it. None: all are there.
    """

    keys: Longs
    counts: Counts
    item_users: Counts
    most_neighbours: int | None = None

    def together(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> Counts:
        """N of pairs of items of any shape, the two broadcast; c_a for a pair of equal ones, 0 for padding."""
        low, high = np.minimum(first, second), np.maximum(first, second)
        wanted = low * len(self.item_users) + high
        found = lookup(self.keys, self.counts, wanted)
        return np.where(low == high, self.item_users[low], found)

    def within(self, items: NDArray[np.int64]) -> Counts:
        """N of all pairs of each sequence, [B, n] to [B, n, n]; each is looked up once, in the order of the keys."""
        order = np.argsort(items, axis=1)
        ordered = np.take_along_axis(items, order, 1)
        first, second = np.triu_indices(items.shape[1], 1)
        found = self.together(ordered[:, first], ordered[:, second])
        square = np.empty((*items.shape, items.shape[1]), np.int32)
        square[:, first, second] = found
        square[:, second, first] = found
        diagonal = np.arange(items.shape[1])
        square[:, diagonal, diagonal] = self.item_users[ordered]
        back = np.argsort(order, axis=1)
        return square[np.arange(len(items))[:, None, None], back[:, :, None], back[:, None, :]]


def training_items(events: EventStore, rows_at_a_time: int = ROWS_AT_A_TIME) -> UserItems:
    """The items of every user's training part, at most `MOST_ITEMS_OF_A_USER`; read in pieces of whole users."""
    width = events.num_items + 1
    lengths = np.zeros(events.num_users, np.int64)
    parts: list[Items] = []
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        training = np.arange(chunk.rows.start, chunk.rows.stop) < np.asarray(events.ends[chunk.users, 0])[chunk.owners]
        for rows in _large_parts(events, chunk):
            newest = newest_items(events.items[rows])
            inside = slice(rows.start - chunk.rows.start, rows.stop - chunk.rows.start)
            training[inside] &= np.isin(events.items[rows], newest)
        keys = np.unique(chunk.owners[training] * width + events.items[chunk.rows][training])
        lengths[chunk.users] = np.bincount(keys // width, minlength=chunk.users.stop - chunk.users.start)
        parts.append((keys % width).astype(np.int32))
    items = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    return UserItems(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), items)


def newest_items(items: Items) -> Items:
    """The `MOST_ITEMS_OF_A_USER` different items met last, of items in the order they were met."""
    different, last = np.unique(items[::-1], return_index=True)
    newest: Items = different[np.argsort(last)[:MOST_ITEMS_OF_A_USER]]
    return newest


def users_cut(events: EventStore) -> int:
    """Users of whom not every training item is counted, for they have more than `MOST_ITEMS_OF_A_USER`."""
    parts = (rows for chunk in user_chunks(events.offsets) for rows in _large_parts(events, chunk))
    return sum(len(np.unique(events.items[rows])) > MOST_ITEMS_OF_A_USER for rows in parts)


def _large_parts(events: EventStore, chunk: UserChunk) -> Iterator[slice]:
    """Rows of the training parts of a chunk that may have more items than are counted."""
    begins, ends = np.asarray(events.offsets[:-1][chunk.users]), np.asarray(events.ends[chunk.users, 0])
    for user in np.flatnonzero(ends - begins > MOST_ITEMS_OF_A_USER):
        yield slice(int(begins[user]), int(ends[user]))


def count_together(
    sets: UserItems, num_items: int, most_neighbours: int | None = None, pairs_at_a_time: int = PAIRS_AT_A_TIME
) -> Cooccurrence:
    """Count the users of every pair of items, for a range of items at a time.

    Args:
        most_neighbours: keep only so many for each item, those with most users, of equal ones the smaller item; needed
            where all pairs would not fit in memory.
        pairs_at_a_time: pairs that are held before they are added up, 8 bytes each.
    """
    item_users = np.bincount(sets.items, minlength=num_items + 1).astype(np.int32)
    kept_keys, kept_counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for low, high in _item_ranges(sets, num_items, pairs_at_a_time):
        keys, counts = _count_range(sets, num_items, low, high, pairs_at_a_time, both_ways=most_neighbours is not None)
        if most_neighbours is not None:
            keys, counts = _most(keys, counts, num_items + 1, most_neighbours)
        kept_keys.append(keys)
        kept_counts.append(counts)
    all_keys, all_counts = np.concatenate(kept_keys), np.concatenate(kept_counts)
    if most_neighbours is not None:
        all_keys, first = np.unique(_upwards(all_keys, num_items + 1), return_index=True)
        all_counts = all_counts[first]
    return Cooccurrence(all_keys, all_counts, item_users, most_neighbours)


def _item_ranges(sets: UserItems, num_items: int, most_pairs: int) -> Iterator[tuple[int, int]]:
    """Ranges of items [low, high) that can have at most `most_pairs` different pairs, or are one item."""
    others = np.repeat(np.diff(sets.offsets), np.diff(sets.offsets)) - 1
    pairs = np.minimum(np.bincount(sets.items, others, minlength=num_items + 1), num_items)
    total = np.concatenate([[0], np.cumsum(pairs)])
    low = 1
    while low <= num_items:
        high = int(np.searchsorted(total, total[low] + most_pairs, side="right")) - 1
        high = min(max(high, low + 1), num_items + 1)
        yield low, high
        low = high


def _count_range(
    sets: UserItems, num_items: int, low: int, high: int, pairs_at_a_time: int, *, both_ways: bool
) -> tuple[Longs, Counts]:
    """Keys and counts of pairs whose first item lies in the range; with `both_ways` the second may be smaller."""
    places = np.flatnonzero((sets.items >= low) & (sets.items < high))
    owners = np.searchsorted(sets.offsets, places, side="right") - 1
    begins = sets.offsets[owners] if both_ways else places + 1
    lengths = sets.offsets[owners + 1] - begins
    total = np.cumsum(lengths)
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    start = 0
    while start < len(places):
        reached = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, reached + pairs_at_a_time, side="right")), start + 1)
        some = slice(start, stop)
        first = np.repeat(sets.items[places[some]].astype(np.int64), lengths[some])
        shift = np.repeat(begins[some] - (total[some] - lengths[some]), lengths[some])
        second = sets.items[np.arange(reached, total[stop - 1]) + shift]
        keys, counts = _add(keys, counts, first[first != second] * (num_items + 1) + second[first != second])
        start = stop
    return keys, counts.astype(np.int32)


def _add(keys: Longs, counts: Longs, more: Longs) -> tuple[Longs, Longs]:
    """Counts with further keys, each counted once."""
    new, times = np.unique(more, return_counts=True)
    merged, where = np.unique(np.concatenate([keys, new]), return_inverse=True)
    return merged, np.bincount(where, np.concatenate([counts, times]), minlength=len(merged)).astype(np.int64)


def _most(keys: Longs, counts: Counts, width: int, most: int) -> tuple[Longs, Counts]:
    """Of each first item the `most` keys with the largest counts."""
    order = np.lexsort((keys, -counts, keys // width))
    firsts = keys[order] // width
    rank = np.arange(len(order)) - np.searchsorted(firsts, firsts)
    kept = order[rank < most]
    return keys[kept], counts[kept]


def _upwards(keys: Longs, width: int) -> Longs:
    """The same pairs with the smaller item first."""
    first, second = keys // width, keys % width
    return np.minimum(first, second) * width + np.maximum(first, second)


def lookup(keys: Longs, values: Counts, wanted: Longs) -> Counts:
    """Value of each wanted key, 0 for those that are not there; keys rise."""
    if not len(keys):
        return np.zeros(wanted.shape, values.dtype)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def member(keys: Longs, wanted: Longs) -> NDArray[np.bool_]:
    """Whether each wanted key is among keys, which rise."""
    if not len(keys):
        return np.zeros(wanted.shape, np.bool_)
    found: NDArray[np.bool_] = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
    return found
