import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore
from libs.data.events.windows import read
from libs.models.sequences import baselines
from libs.models.sequences.baselines import (
    ItemKnnScorer,
    ItemNeighbours,
    item_neighbours,
    measure_baselines,
)
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import RankingMeasurer
from libs.models.sequences.ranking import ranks_of

ITEMS = 7


def some_events(seed: int, users: int = 12) -> EventStore:
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(random.integers(1, 9, users))]).astype(np.int64)
    items = random.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), leave_last_out(offsets), ITEMS)


def training_sets(events: EventStore) -> list[set[int]]:
    return [set(events.items[events.offsets[user] : events.ends[user, 0]].tolist()) for user in range(events.num_users)]


def similarity(sets: list[set[int]], one: int, other: int, shrinkage: float) -> float:
    both = sum(one in items and other in items for items in sets)
    with_one, with_other = (sum(item in items for items in sets) for item in (one, other))
    return both / math.sqrt((with_one + shrinkage) * (with_other + shrinkage)) if both else 0.0


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 9), st.sampled_from([0.0, 20.0]), st.integers(1, 40))
def test_neighbours_are_those_of_a_loop(seed: int, count: int, shrinkage: float, products: int) -> None:
    events = some_events(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_MOST_PRODUCTS", products)
        found = item_neighbours(events, count, shrinkage)
    sets = training_sets(events)
    for item in range(1, ITEMS + 1):
        near = {other: similarity(sets, item, other, shrinkage) for other in range(1, ITEMS + 1) if other != item}
        best = sorted((value for value in near.values() if value), reverse=True)[:count]
        assert found.similarities[item] == pytest.approx(best + [0.0] * (count - len(best)), rel=1e-6)
        for other, value in zip(found.items[item], found.similarities[item], strict=True):
            assert (other == 0) == (value == 0)
            assert not other or near[int(other)] == pytest.approx(float(value), rel=1e-6)
    assert not found.items[0].any()


def test_equal_neighbours_come_by_the_smaller_number() -> None:
    offsets = np.array([0, 4, 6], np.int64)
    ends = np.stack([offsets[1:], offsets[1:]], 1)
    items = np.array([1, 2, 3, 4, 1, 4], np.int32)
    events = EventStore(offsets, items, np.zeros(6, np.int64), ends, 4)
    found = item_neighbours(events, 2, 0.0)
    assert found.items[1].tolist() == [4, 2]
    assert found.items[2].tolist() == [3, 1]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans(), st.integers(1, 3))
def test_both_rank_as_a_loop_does(seed: int, exclude_seen: bool, history_at_a_time: int) -> None:
    events, config = some_events(seed), SequenceTrainingConfig(max_length=3, exclude_seen=exclude_seen)
    measurer = RankingMeasurer(events, "test", config, "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_HISTORY_AT_A_TIME", history_at_a_time)
        measured = measure_baselines(events, config, "test", "cpu")
    if not len(measurer.windows):
        assert measured == {}
        return
    sets, counts = training_sets(events), events.training_counts()
    for case, row in enumerate(measured["item-knn"].rows.tolist()):
        user = int(np.searchsorted(events.offsets, row, side="right")) - 1
        history = events.items[events.offsets[user] : row]
        seen = torch.from_numpy(history.astype(np.int64))[None] if exclude_seen else None
        near = [
            sum(similarity(sets, int(met), item, 20.0) for met in history[-3:] if met != item)
            for item in range(ITEMS + 1)
        ]
        target = torch.tensor([events.items[row]]).long()
        for name, scores in (("item-knn", np.float32(near)), ("popularity", counts.astype(np.float32))):
            # sums of float32 in another order: rounded, so that what is equal stays so
            rank = ranks_of(torch.from_numpy(scores.round(5))[None], target, excluded=seen)
            assert abs(float(measured[name].ranks[case] - rank)) <= (0.5 if name == "item-knn" else 0)


def test_a_history_counts_only_up_to_the_position() -> None:
    events = some_events(0)
    windows = RankingMeasurer(events, "train", SequenceTrainingConfig(max_length=8), "cpu").windows
    batch = read(events, windows)
    near = ItemNeighbours(
        np.tile(np.arange(ITEMS + 1, dtype=np.int32)[:, None], (1, 1)), np.ones((ITEMS + 1, 1), np.float32)
    )
    rows, places = np.nonzero(batch.targets)
    scores = ItemKnnScorer(near, "cpu").begin(batch)(rows, places)
    for case, (row, place) in enumerate(zip(rows, places, strict=True)):
        expected = np.bincount(batch.inputs[row, : place + 1], minlength=ITEMS + 1)
        assert scores[case, 1:].tolist() == expected[1:].tolist()
