"""Which events are kept. Each filter clears flags of `alive` [N] and says how many; nothing is moved yet."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libs.data.events.chunks import ROWS_AT_A_TIME, user_chunks
from libs.data.events.sorting import SortedEvents
from libs.data.events.store import Longs

Flags = NDArray[np.bool_]


def duplicates(events: SortedEvents, rows_at_a_time: int = ROWS_AT_A_TIME) -> Flags:
    """Events whose user, item, time and type an earlier row had already, [N]."""
    found = np.zeros(len(events.items), np.bool_)
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        times = events.times[chunk.rows]
        tied = _same_as_before(chunk.owners, times)
        tied[:-1] |= tied[1:]
        rows = np.flatnonzero(tied)
        columns = (events.types[chunk.rows][rows], events.items[chunk.rows][rows], times[rows], chunk.owners[rows])
        order = np.lexsort(columns)
        again = _same_as_before(*(column[order] for column in columns))
        found[chunk.rows.start + rows[order[again]]] = True
    return found


def repeats(events: SortedEvents, alive: Flags, rows_at_a_time: int = ROWS_AT_A_TIME) -> Flags:
    """Events with the item of the event before, among those alive, [N]."""
    found = np.zeros(len(events.items), np.bool_)
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        rows = np.flatnonzero(alive[chunk.rows])
        again = _same_as_before(chunk.owners[rows], events.items[chunk.rows][rows])
        found[chunk.rows.start + rows[again]] = True
    return found


def keep_core(
    events: SortedEvents,
    alive: Flags,
    num_items: int,
    min_user_events: int,
    min_item_events: int,
    core: Literal["fixpoint", "once"],
    rows_at_a_time: int = ROWS_AT_A_TIME,
) -> int:
    """Drop events of rare items, then of users with few events: once, or until nothing changes (the k-core).

    Returns:
        How often it went through the events.
    """
    passes = 0
    while True:
        passes += 1
        rare = _item_counts(events, alive, num_items, rows_at_a_time) < min_item_events
        changed = _drop_items(events, alive, rare, rows_at_a_time)
        changed |= _drop_short_users(events, alive, min_user_events, rows_at_a_time)
        if core == "once" or not changed or min_item_events <= 1 or min_user_events <= 1:
            return passes


def keep_newest(events: SortedEvents, alive: Flags, count: int, rows_at_a_time: int = ROWS_AT_A_TIME) -> int:
    """Keep each user's newest events only; how many are dropped."""
    dropped = 0
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        rows = np.flatnonzero(alive[chunk.rows])
        totals = np.bincount(chunk.owners[rows], minlength=_users(chunk.users))
        place = np.arange(len(rows)) - np.repeat(np.cumsum(totals) - totals, totals)
        old = place < (totals - count)[chunk.owners[rows]]
        alive[chunk.rows.start + rows[old]] = False
        dropped += int(old.sum())
    return dropped


def _item_counts(events: SortedEvents, alive: Flags, num_items: int, rows_at_a_time: int) -> Longs:
    counts = np.zeros(num_items, np.int64)
    for begin in range(0, len(alive), rows_at_a_time):
        rows = slice(begin, begin + rows_at_a_time)
        counts += np.bincount(events.items[rows][alive[rows]], minlength=num_items)
    return counts


def _drop_items(events: SortedEvents, alive: Flags, rare: Flags, rows_at_a_time: int) -> bool:
    changed = False
    for begin in range(0, len(alive), rows_at_a_time):
        rows = slice(begin, begin + rows_at_a_time)
        gone = alive[rows] & rare[events.items[rows]]
        alive[rows] &= ~gone
        changed |= bool(gone.any())
    return changed


def _drop_short_users(events: SortedEvents, alive: Flags, least: int, rows_at_a_time: int) -> bool:
    changed = False
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        counts = np.bincount(chunk.owners, weights=alive[chunk.rows], minlength=_users(chunk.users))
        gone = alive[chunk.rows] & (counts < least)[chunk.owners]
        alive[chunk.rows] &= ~gone
        changed |= bool(gone.any())
    return changed


def _same_as_before(*columns: NDArray[np.generic]) -> Flags:
    """Rows that equal the row before in every column."""
    same = np.zeros(len(columns[0]), np.bool_)
    if len(same) > 1:
        same[1:] = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    return same


def _users(users: slice) -> int:
    return int(users.stop - users.start)
