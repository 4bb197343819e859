"""The items most users had beside an item."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.data.events.store import EventStore
from libs.models.sequences.neighbours import neighbours_of

ITEMS = 6


def store(histories: list[list[int]]) -> EventStore:
    """All events are for training."""
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    items = np.array([item for history in histories for item in history], np.int32)
    ends = np.stack([offsets[1:], offsets[1:]], 1)
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), ends, ITEMS)


@pytest.mark.parametrize("most", [2, 10])
@settings(max_examples=30)
@given(histories=st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=8), min_size=1, max_size=8))
def test_they_are_those_of_counting(most: int, histories: list[list[int]]) -> None:
    found = neighbours_of(store(histories), most)
    users = Counter(pair for history in histories for pair in permutations(set(history), 2))
    for item in range(ITEMS + 1):
        best = sorted(((-count, other) for (one, other), count in users.items() if one == item))[:most]
        wanted = [(other, -count) for count, other in best] + [(0, 0)] * (most - len(best))
        assert list(zip(found["items"][item].tolist(), found["users"][item].tolist(), strict=True)) == wanted


def test_events_held_out_do_not_count() -> None:
    events = store([[1, 2, 3], [1, 2]])
    events.ends[0] = 2
    found = neighbours_of(events, 3)
    assert found["items"][1].tolist() == [2, 0, 0]
    assert found["users"][1].tolist() == [2, 0, 0]
    assert not found["items"][3].any()
