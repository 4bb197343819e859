"""Events without the rows that were dropped, and without users that have none left."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.data.events.chunks import ROWS_AT_A_TIME, user_chunks
from libs.data.events.filters import Flags
from libs.data.events.store import Longs


@dataclass(frozen=True, slots=True)
class Layout:
    """Where users' events are after a compaction.

    Attributes:
        users: numbers, before it, of those who are left, rising.
        offsets: [U + 1], of those.
        ends: [U, 2], of those.
    """

    users: Longs
    offsets: Longs
    ends: Longs


def layout_of(offsets: Longs, ends: Longs, alive: Flags, rows_at_a_time: int = ROWS_AT_A_TIME) -> Layout:
    """What becomes of the rows of users, and of where their splits end, when only rows alive remain."""
    kept = np.zeros(len(offsets), np.int64)  # rows alive before each offset
    moved = np.zeros_like(ends)
    total = 0
    for chunk in user_chunks(offsets, rows_at_a_time):
        before = total + np.concatenate([[0], np.cumsum(alive[chunk.rows])])
        bounds = slice(chunk.users.start, chunk.users.stop + 1)
        kept[bounds] = before[offsets[bounds] - chunk.rows.start]
        moved[chunk.users] = before[ends[chunk.users] - chunk.rows.start]
        total = int(before[-1])
    users = np.flatnonzero(np.diff(kept))
    return Layout(users, np.concatenate([[0], kept[1:][users]]).astype(np.int64), moved[users])


def copy_alive(
    source: NDArray[np.generic], alive: Flags, target: NDArray[np.generic], rows_at_a_time: int = ROWS_AT_A_TIME
) -> None:
    """Copy the rows alive, in their order."""
    begin = 0
    for start in range(0, len(alive), rows_at_a_time):
        rows = slice(start, start + rows_at_a_time)
        chosen = source[rows][alive[rows]]
        target[begin : begin + len(chosen)] = chosen
        begin += len(chosen)
