"""The items that most training users had beside an item: what a bundle falls back on."""

import numpy as np
from numpy.typing import NDArray

from libs.data.events.cooccurrence import Cooccurrence, count_together, training_items
from libs.data.events.store import EventStore

NEIGHBOURS = 50


def neighbours_of(events: EventStore, most: int = NEIGHBOURS) -> dict[str, NDArray[np.int32]]:
    """`items` and `users` [I + 1, most] of a bundle's neighbours.npz, most users first, of equal ones the smaller item.

    Counted by ranges of items, and cut to `most` for each, so memory is bounded by the items.
    """
    return _rows_of(count_together(training_items(events), events.num_items, most), most)


def _rows_of(counted: Cooccurrence, most: int) -> dict[str, NDArray[np.int32]]:
    width = len(counted.item_users)
    low, high = counted.keys // width, counted.keys % width
    of, beside = np.concatenate([low, high]), np.concatenate([high, low])
    users = np.tile(counted.counts, 2)
    order = np.lexsort((beside, -users, of))
    of, beside, users = of[order], beside[order], users[order]
    place = np.arange(len(of)) - np.searchsorted(of, of)
    kept = place < most
    found = {name: np.zeros((width, most), np.int32) for name in ("items", "users")}
    found["items"][of[kept], place[kept]] = beside[kept]
    found["users"][of[kept], place[kept]] = users[kept]
    return found
