"""Walking through events in pieces of whole users, so that memory does not grow with the events."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from libs.data.events.store import Longs

ROWS_AT_A_TIME = 1 << 21


@dataclass(frozen=True, slots=True)
class UserChunk:
    """Some users with all their events.

    Attributes:
        users: the first and the one behind the last.
        rows: of their events, likewise.
        owners: user of each row, counted from the first of the chunk.
    """

    users: slice
    rows: slice
    owners: Longs


def user_chunks(offsets: Longs, rows_at_a_time: int = ROWS_AT_A_TIME) -> Iterator[UserChunk]:
    """Whole users, as many as have about `rows_at_a_time` events together; at least one."""
    first, users = 0, len(offsets) - 1
    while first < users:
        last = int(np.searchsorted(offsets, offsets[first] + rows_at_a_time, side="right")) - 1
        last = min(max(last, first + 1), users)
        owners = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        yield UserChunk(slice(first, last), slice(int(offsets[first]), int(offsets[last])), owners)
        first = last
