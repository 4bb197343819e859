from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.data.events.compact import copy_alive, layout_of
from libs.data.events.filters import duplicates, keep_core, keep_newest, repeats
from libs.data.events.sorting import sort_events
from libs.data.events.spool import Spool

ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from("wxyz"), st.integers(0, 4), st.sampled_from(["view", "buy", None])
    ),
    max_size=40,
)
SCHEMA = {"user": pl.String, "item": pl.String, "time": pl.Int64, "type": pl.String}


def spooled(tmp_path, rows, batch=7):
    with Spool(tmp_path) as spool:
        for begin in range(0, len(rows), batch):
            spool.add(pl.DataFrame(rows[begin : begin + batch], SCHEMA, orient="row"))
    return spool


def in_words(spool, events, alive=None):
    """Rows (user, item, time) as text again."""
    users, items = spool.users.texts().sort().to_list(), spool.items.texts().to_list()
    owners = np.repeat(np.arange(len(users)), np.diff(events.offsets))
    found = zip(owners, events.items, events.times, strict=True)
    rows = [(users[user], items[item], int(time)) for user, item, time in found]
    return rows if alive is None else [row for row, kept in zip(rows, alive, strict=True) if kept]


@settings(max_examples=40)
@given(rows=ROWS, rows_at_a_time=st.integers(1, 9))
def test_the_counting_sort_is_a_stable_sort(tmp_path_factory, rows, rows_at_a_time):
    folder = tmp_path_factory.mktemp("spool")
    spool = spooled(folder, rows)
    events = sort_events(spool, folder, rows_at_a_time)
    naive = sorted(rows, key=lambda row: (row[0], row[2]))
    assert in_words(spool, events) == [row[:3] for row in naive]
    falls = sum(
        later[2] < earlier[2]
        for user in "abcdef"
        for earlier, later in zip(
            [row for row in rows if row[0] == user], [row for row in rows if row[0] == user][1:], strict=False
        )
    )
    assert events.unordered == falls


@settings(max_examples=40)
@given(rows=ROWS, rows_at_a_time=st.integers(1, 9))
def test_duplicates_are_rows_equal_to_an_earlier_one(tmp_path_factory, rows, rows_at_a_time):
    folder = tmp_path_factory.mktemp("spool")
    events = sort_events(spooled(folder, rows), folder, rows_at_a_time)
    assert duplicates(events, rows_at_a_time).sum() == len(rows) - len(set(rows))


@settings(max_examples=40)
@given(rows=ROWS, rows_at_a_time=st.integers(1, 9))
def test_repeats_are_items_met_twice_in_a_row(tmp_path_factory, rows, rows_at_a_time):
    folder = tmp_path_factory.mktemp("spool")
    spool = spooled(folder, rows)
    events = sort_events(spool, folder, rows_at_a_time)
    alive = np.ones(len(rows), bool)
    found = repeats(events, alive, rows_at_a_time)
    words = in_words(spool, events)
    assert found.tolist() == [row > 0 and words[row - 1][:2] == words[row][:2] for row in range(len(words))]


@settings(max_examples=40)
@given(rows=ROWS, users=st.integers(1, 4), items=st.integers(1, 4), rows_at_a_time=st.integers(1, 9))
def test_the_core_is_the_largest_set_that_fulfils_both_minima(tmp_path_factory, rows, users, items, rows_at_a_time):
    folder = tmp_path_factory.mktemp("spool")
    spool = spooled(folder, rows)
    events = sort_events(spool, folder, rows_at_a_time)
    alive = np.ones(len(rows), bool)
    keep_core(events, alive, len(spool.items), users, items, "fixpoint", rows_at_a_time)
    left = in_words(spool, events)
    while True:
        kept = [
            row
            for row in left
            if sum(other[0] == row[0] for other in left) >= users and sum(other[1] == row[1] for other in left) >= items
        ]
        if kept == left:
            break
        left = kept
    assert in_words(spool, events, alive) == left


@settings(max_examples=40)
@given(rows=ROWS, count=st.integers(1, 4), rows_at_a_time=st.integers(1, 9))
def test_the_newest_of_each_user_stay(tmp_path_factory, rows, count, rows_at_a_time):
    folder = tmp_path_factory.mktemp("spool")
    spool = spooled(folder, rows)
    events = sort_events(spool, folder, rows_at_a_time)
    alive = np.ones(len(rows), bool)
    keep_newest(events, alive, count, rows_at_a_time)
    words = in_words(spool, events)
    expected = [row for user in "abcdef" for row in [one for one in words if one[0] == user][-count:]]
    assert in_words(spool, events, alive) == expected


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, 6), max_size=8), seed=st.integers(0, 99), rows_at_a_time=st.integers(1, 9))
def test_a_compaction_keeps_rows_and_moves_where_splits_end(lengths, seed, rows_at_a_time):
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ends = np.sort(random.integers(offsets[:-1, None], offsets[1:, None] + 1, (len(lengths), 2)), axis=1)
    alive = random.random(offsets[-1]) < 0.6
    values = random.integers(0, 100, offsets[-1])
    layout = layout_of(offsets, ends, alive, rows_at_a_time)
    target = np.zeros(layout.offsets[-1], values.dtype)
    copy_alive(values, alive, target, rows_at_a_time)
    assert layout.users.tolist() == [u for u in range(len(lengths)) if alive[offsets[u] : offsets[u + 1]].any()]
    for place, user in enumerate(layout.users):
        bounds = [offsets[user], *ends[user], offsets[user + 1]]
        moved = [layout.offsets[place], *layout.ends[place], layout.offsets[place + 1]]
        for old, new in zip(pairwise(bounds), pairwise(moved), strict=True):
            part = slice(*old)
            assert target[slice(*new)].tolist() == values[part][alive[part]].tolist()
