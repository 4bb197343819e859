from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.events import cooccurrence
from libs.data.events.cooccurrence import (
    Cooccurrence,
    UserItems,
    count_together,
    lookup,
    member,
    training_items,
    users_cut,
)
from libs.data.events.splits import leave_last_out
from libs.data.events.store import EventStore

ITEMS = 6
HISTORIES = st.lists(st.lists(st.integers(1, ITEMS), max_size=9), min_size=1, max_size=12)


def store(histories: list[list[int]]) -> EventStore:
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    items = np.array([item for history in histories for item in history], np.int32)
    return EventStore(offsets, items, np.arange(len(items), dtype=np.int64), leave_last_out(offsets), ITEMS)


def training_parts(events: EventStore) -> list[set[int]]:
    return [
        set(events.items[begin:end].tolist()) for begin, end in zip(events.offsets[:-1], events.ends[:, 0], strict=True)
    ]


def brute_force(parts: list[set[int]]) -> np.ndarray[Any, Any]:
    has = np.zeros((len(parts), ITEMS + 1), np.int64)
    for user, part in enumerate(parts):
        has[user, list(part)] = 1
    return has.T @ has


EVERY = np.arange(ITEMS + 1)


@given(HISTORIES, st.integers(1, 5))
def test_sets_hold_each_training_item_once(histories, rows_at_a_time):
    events = store(histories)
    sets = training_items(events, rows_at_a_time)
    parts = [sorted(part) for part in training_parts(events)]
    assert [sets.items[a:b].tolist() for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)] == parts


@given(HISTORIES)
def test_who_has_what(histories):
    events = store(histories)
    sets = training_items(events)
    users = np.arange(events.num_users + 1)
    found = sets.contains(users, np.broadcast_to(EVERY, (len(users), ITEMS + 1)).astype(np.int64))
    expected = [[item in part for item in EVERY] for part in [set(), *training_parts(events)]]
    assert found.tolist() == expected


@given(HISTORIES, st.sampled_from([1, 3, 1 << 20]))
def test_counts_are_those_of_the_matrix_product(histories, pairs_at_a_time):
    events = store(histories)
    counted = count_together(training_items(events), ITEMS, pairs_at_a_time=pairs_at_a_time)
    expected = brute_force(training_parts(events))
    assert (np.diff(counted.keys) > 0).all()
    assert (counted.counts > 0).all()
    assert counted.item_users.tolist() == expected.diagonal().tolist()
    assert counted.together(EVERY[:, None], EVERY[None, :]).tolist() == expected.tolist()


@given(HISTORIES, st.integers(1, 4), st.sampled_from([1, 3, 1 << 20]))
def test_cut_short_a_pair_stays_if_one_item_kept_it(histories, most, pairs_at_a_time):
    events = store(histories)
    counted = count_together(training_items(events), ITEMS, most, pairs_at_a_time)
    exact = brute_force(training_parts(events))
    kept = np.zeros_like(exact, bool)
    for item in range(1, ITEMS + 1):
        others = [other for other in EVERY if other != item and exact[item, other]]
        kept[item, sorted(others, key=lambda other: (-exact[item, other], other))[:most]] = True
    expected = np.where(kept | kept.T | np.eye(ITEMS + 1, dtype=bool), exact, 0)
    assert counted.together(EVERY[:, None], EVERY[None, :]).tolist() == expected.tolist()
    assert len(counted.keys) <= most * ITEMS
    assert counted.most_neighbours == most


@given(HISTORIES, st.lists(st.lists(st.integers(0, ITEMS), min_size=4, max_size=4), min_size=1, max_size=5))
def test_pairs_of_sequences(histories, sequences):
    counted = count_together(training_items(store(histories)), ITEMS)
    items = np.array(sequences, np.int64)
    expected = brute_force(training_parts(store(histories)))[items[:, :, None], items[:, None, :]]
    assert counted.within(items).tolist() == expected.tolist()


@given(st.lists(st.integers(0, 40), unique=True).map(sorted), st.lists(st.integers(-3, 45)))
def test_lookups(keys, wanted):
    array = np.array(keys, np.int64)
    values = np.arange(1, len(keys) + 1, dtype=np.int32)
    asked = np.array(wanted, np.int64)
    table = dict(zip(keys, values.tolist(), strict=True))
    assert lookup(array, values, asked).tolist() == [table.get(key, 0) for key in wanted]
    assert member(array, asked).tolist() == [key in table for key in wanted]


def test_no_events_no_counts():
    events = store([[], [3]])
    counted = count_together(training_items(events), ITEMS)
    assert not len(counted.keys)
    assert not counted.within(np.array([[1, 2, 0]])).any()


@given(HISTORIES, st.integers(1, 5), st.integers(1, 4))
def test_of_many_items_the_newest_count(histories, rows_at_a_time, most):
    events = store(histories)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "MOST_ITEMS_OF_A_USER", most)
        sets, cut = training_items(events, rows_at_a_time), users_cut(events)
    parts = [
        list(dict.fromkeys(events.items[begin:end][::-1].tolist()))
        for begin, end in zip(events.offsets[:-1], events.ends[:, 0], strict=True)
    ]
    found = [sets.items[a:b].tolist() for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    assert found == [sorted(part[:most]) for part in parts]
    assert cut == sum(len(part) > most for part in parts)


def test_an_account_that_met_the_whole_catalogue_costs_no_more_than_its_newest_items():
    count = 200_000
    offsets = np.array([0, count, count + 2], np.int64)
    items = np.concatenate([np.arange(1, count + 1), [1, 2]]).astype(np.int32)
    ends = np.stack([offsets[1:], offsets[1:]], 1)
    events = EventStore(offsets, items, np.arange(len(items), dtype=np.int64), ends, count)
    sets = training_items(events)
    assert sets.items[:-2].tolist() == list(range(count - 999, count + 1))
    assert len(count_together(sets, count).keys) == 1000 * 999 // 2 + 1
    assert users_cut(events) == 1


@pytest.mark.parametrize("most", [None, 2])
def test_a_user_with_everything_is_counted_in_pieces(most):
    sets = UserItems(np.array([0, 400]), np.arange(1, 401, dtype=np.int32))
    counted = count_together(sets, 400, most, pairs_at_a_time=50)
    assert isinstance(counted, Cooccurrence)
    assert len(counted.keys) == (400 * 399 // 2 if most is None else 3 + 397 * 2)
    assert (counted.counts == 1).all()
