"""Events on disk: who met which item when, as arrays that are memory-mapped, so that 100 million cost no memory.

offsets.npy   int64 [U + 1]: the events of user u are rows offsets[u] to offsets[u + 1]
items.npy     int32 [N]: item ids from 1; 0 is padding and never stored
times.npy     int64 [N]: microseconds since 1970, rising within a user
ends.npy      int64 [U, 2]: row where a user's training events end, and row where the validation events end
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError

Longs = NDArray[np.int64]
Items = NDArray[np.int32]
_ROWS_AT_A_TIME = 1 << 22
_ARRAYS = {"offsets": np.int64, "items": np.int32, "times": np.int64, "ends": np.int64}


@dataclass(frozen=True, slots=True)
class EventStore:
    """Events sorted by user and time; the arrays may be memory maps.

    Attributes:
        offsets: [U + 1].
        items: [N], 1 to num_items.
        times: [N], microseconds since 1970.
        ends: [U, 2], absolute rows; training ends at column 0, validation at column 1, testing at the user's end.
        num_items: items known, without padding.
    """

    offsets: Longs
    items: Items
    times: Longs
    ends: Longs
    num_items: int

    def __post_init__(self) -> None:
        users, rows = len(self.offsets) - 1, len(self.items)
        if users < 0 or self.offsets[0] != 0 or self.offsets[-1] != rows or len(self.times) != rows:
            raise DataError("The event arrays do not fit together: offsets, items and times disagree about the rows.")
        if self.ends.shape != (users, 2):
            raise DataError(f"The event arrays do not fit together: {users} users but ends of shape {self.ends.shape}.")

    @property
    def num_users(self) -> int:
        """Users, with or without events."""
        return len(self.offsets) - 1

    def training_counts(self) -> Longs:
        """How often each item occurs among the training events, [num_items + 1]; column 0 is 0."""
        counts = np.zeros(self.num_items + 1, np.int64)
        for begin in range(0, len(self.items), _ROWS_AT_A_TIME):
            rows = np.arange(begin, min(begin + _ROWS_AT_A_TIME, len(self.items)))
            owners = np.searchsorted(self.offsets, rows, side="right") - 1
            training = self.items[rows[0] : rows[-1] + 1][rows < self.ends[owners, 0]]
            counts += np.bincount(training, minlength=self.num_items + 1)
        return counts


def open_events(folder: Path, num_items: int) -> EventStore:
    """Memory-map the arrays of `folder`.

    Raises:
        DataError: they are missing, of another type, or do not fit together.
    """
    arrays: dict[str, Any] = {}
    for name, dtype in _ARRAYS.items():
        try:
            arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{name}.npy of the events cannot be read: {error}") from None
        if arrays[name].dtype != dtype:
            raise DataError(f"{name}.npy holds {arrays[name].dtype}, not {np.dtype(dtype)}.")
    return EventStore(**arrays, num_items=num_items)
