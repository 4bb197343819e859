"""Events sorted by user and time without holding them: a counting sort over users, then each user's by time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.events.chunks import ROWS_AT_A_TIME, user_chunks
from libs.data.events.spool import Codes, Spool
from libs.data.events.store import Longs


@dataclass(frozen=True, slots=True)
class SortedEvents:
    """Events by user and time; equal times keep the order of the upload. Memory-mapped, and may be changed.

    Attributes:
        offsets: [U + 1]: the events of user u are rows offsets[u] to offsets[u + 1]; users in the order of their ids.
        items: [N], numbers of the spool.
        times: [N].
        types: [N], numbers of the spool.
        unordered: events that came before an earlier one of their user.
    """

    offsets: Longs
    items: NDArray[np.uint32]
    times: Longs
    types: NDArray[np.uint16]
    unordered: int


def sort_events(spool: Spool, folder: Path, rows_at_a_time: int = ROWS_AT_A_TIME) -> SortedEvents:
    """Sort what was spooled.

    Args:
        spool: closed.
        folder: for the sorted arrays, 14 bytes an event.
        rows_at_a_time: held in memory.
    """
    ranks = ranks_of(spool.users)
    offsets = _offsets(spool, ranks, rows_at_a_time)
    events = SortedEvents(
        offsets,
        scratch_array(folder / "items.sorted", np.uint32, spool.events),
        scratch_array(folder / "times.sorted", np.int64, spool.events),
        scratch_array(folder / "types.sorted", np.uint16, spool.events),
        unordered=0,
    )
    _scatter(spool, ranks, events, rows_at_a_time)
    unordered = _sort_by_time(events, rows_at_a_time)
    return SortedEvents(events.offsets, events.items, events.times, events.types, unordered)


def ranks_of(codes: Codes) -> NDArray[np.uint32]:
    """Place of each string among all of them in the order of their bytes, by its number."""
    ranks = np.empty(len(codes), np.uint32)
    ranks[codes.texts().arg_sort().to_numpy()] = np.arange(len(codes), dtype=np.uint32)
    return ranks


def _offsets(spool: Spool, ranks: NDArray[np.uint32], rows_at_a_time: int) -> Longs:
    counts = np.zeros(len(ranks), np.int64)
    for chunk in spool.chunks(rows_at_a_time):
        counts += np.bincount(ranks[chunk["user"]], minlength=len(counts))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _scatter(spool: Spool, ranks: NDArray[np.uint32], events: SortedEvents, rows_at_a_time: int) -> None:
    """Put each event to the next free row of its user."""
    free = events.offsets[:-1].copy()
    for chunk in spool.chunks(rows_at_a_time):
        owners = ranks[chunk["user"]]
        order = np.argsort(owners, kind="stable")
        users = owners[order]
        begins = np.flatnonzero(np.diff(users, prepend=-1.0))
        counts = np.diff(begins, append=len(users))
        place = np.arange(len(users)) - np.repeat(begins, counts)
        rows = free[users] + place
        events.items[rows] = chunk["item"][order]
        events.times[rows] = chunk["time"][order]
        events.types[rows] = chunk["type"][order]
        free[users[begins]] += counts


def _sort_by_time(events: SortedEvents, rows_at_a_time: int) -> int:
    """Sort each user's events by time, in place; how many came before an earlier one."""
    unordered = 0
    for chunk in user_chunks(events.offsets, rows_at_a_time):
        times = events.times[chunk.rows]
        falls = (np.diff(times) < 0) & (np.diff(chunk.owners) == 0)
        unordered += int(falls.sum())
        if falls.any():
            order = np.lexsort((times, chunk.owners))
            for column in (events.items, events.times, events.types):
                column[chunk.rows] = column[chunk.rows][order]
    return unordered


def scratch_array(path: Path, dtype: Any, rows: int) -> Any:
    """An array on disk, or an empty one in memory: nothing cannot be mapped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return np.memmap(path, dtype, "w+", shape=(rows,)) if rows else np.empty(0, dtype)
