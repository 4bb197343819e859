import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.errors import DataError
from libs.data.events.splits import by_time, by_user, leave_last_out, value_at
from libs.data.events.store import EventStore, open_events
from libs.data.events.windows import batches, read, windows_of

LENGTHS = st.lists(st.integers(0, 17), min_size=1, max_size=6)


def store(lengths, ends=None):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = int(offsets[-1])
    items = (np.arange(rows) % 7 + 1).astype(np.int32)
    ends = leave_last_out(offsets) if ends is None else ends
    return EventStore(offsets, items, np.arange(rows, dtype=np.int64), ends, 7)


def write_events(folder, events):
    for name in ("offsets", "items", "times", "ends"):
        np.save(folder / f"{name}.npy", getattr(events, name))


def targets_of(events, split, max_length):
    """Row of every target the windows cover, and the least history any of them has."""
    windows = windows_of(events, split, max_length)
    rows, histories = [], []
    for start, length, first in zip(windows.starts, windows.lengths, windows.first_targets, strict=True):
        assert 1 <= first < length <= max_length + 1
        rows += range(start + first, start + length)
        histories += range(first, length)
    return rows, histories, windows


@given(LENGTHS, st.integers(1, 8), st.sampled_from(["train", "val", "test"]))
def test_windows_cover_each_target_once_with_enough_history(lengths, max_length, split):
    events = store(lengths)
    rows, histories, windows = targets_of(events, split, max_length)
    expected = []
    for user, length in enumerate(lengths):
        first, last = events.offsets[user], events.offsets[user + 1]
        train, val = events.ends[user]
        begin, end = {"train": (first, train), "val": (train, val), "test": (val, last)}[split]
        expected += range(max(begin, first + 1), end)
        del length
    assert sorted(rows) == expected
    owner = np.searchsorted(events.offsets, np.array(rows, int), side="right") - 1
    for row, history, user in zip(rows, histories, owner, strict=True):
        assert history >= min(row - events.offsets[user], max(1, max_length // 2))
    assert windows.num_targets == len(expected)


def test_a_short_history_is_one_window():
    events = store([5])
    rows, histories, windows = targets_of(events, "train", 10)
    assert (rows, histories, len(windows)) == ([1, 2], [1, 2], 1)


def test_what_a_model_reads():
    events = store([4, 6])
    batch = read(events, windows_of(events, "test", 3))
    assert batch.inputs.tolist() == [[1, 2, 3], [7, 1, 2]]
    assert batch.targets.tolist() == [[0, 0, 4], [0, 0, 3]]
    assert batch.lengths.tolist() == [3, 3]
    train = read(events, windows_of(events, "train", 10))
    assert train.inputs.tolist() == [[1, 0, 0], [5, 6, 7]]
    assert train.targets.tolist() == [[2, 0, 0], [6, 7, 1]]


def test_batches_hold_every_window_once_and_repeat_with_their_seed():
    events = store([3 + n % 9 for n in range(100)])
    windows = windows_of(events, "train", 5)
    found = [batch.starts for batch in batches(windows, 8, seed=3, bucket=32)]
    assert sorted(np.concatenate(found)) == sorted(windows.starts)
    again = [batch.starts for batch in batches(windows, 8, seed=3, bucket=32)]
    assert all((a == b).all() for a, b in zip(found, again, strict=True))
    other = np.concatenate([batch.starts for batch in batches(windows, 8, seed=4, bucket=32)])
    assert (other != np.concatenate(found)).any()


def test_whole_users_are_held_out():
    offsets = np.arange(0, 101, 5, dtype=np.int64)
    ends = by_user(offsets, (0.1, 0.2), seed=0)
    lengths = np.stack([ends[:, 0] - offsets[:-1], ends[:, 1] - ends[:, 0], offsets[1:] - ends[:, 1]], 1)
    assert sorted(map(tuple, lengths.tolist())) == [(0, 0, 5)] * 4 + [(0, 5, 0)] * 2 + [(5, 0, 0)] * 14
    with pytest.raises(ValueError, match="nobody to train on"):
        by_user(offsets, (0.5, 0.5), seed=0)


def test_the_future_is_held_out():
    offsets = np.array([0, 4, 6], np.int64)
    times = np.array([0, 10, 20, 30, 5, 25], np.int64)
    assert by_time(offsets, times, 10, 25).tolist() == [[1, 3], [5, 5]]
    with pytest.raises(ValueError, match="before validation"):
        by_time(offsets, times, 25, 10)


@given(st.lists(st.integers(-(2**53), 2**53) | st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_a_value_at_a_place_is_that_of_a_sort(values, data):
    place = data.draw(st.integers(0, len(values) - 1))
    rows_at_a_time = data.draw(st.integers(1, 40))
    assert value_at(np.array(values, np.int64), place, rows_at_a_time) == sorted(values)[place]


def test_what_was_written_is_read(tmp_path):
    events = store([4, 0, 6])
    write_events(tmp_path, events)
    again = open_events(tmp_path, 7)
    for name in ("offsets", "items", "times", "ends"):
        assert (getattr(again, name) == getattr(events, name)).all()
    assert isinstance(again.items, np.memmap)
    assert again.training_counts().tolist() == np.bincount([1, 2, 5, 6, 7, 1], minlength=8).tolist()


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    write_events(tmp_path, store([4, 6]))
    np.save(tmp_path / "items.npy", np.zeros(3, np.int32))
    with pytest.raises(DataError, match="disagree about the rows"):
        open_events(tmp_path, 7)
    (tmp_path / "items.npy").unlink()
    with pytest.raises(DataError, match=r"items.npy of the events cannot be read"):
        open_events(tmp_path, 7)
    np.save(tmp_path / "items.npy", np.zeros(10, np.int64))
    with pytest.raises(DataError, match="holds int64, not int32"):
        open_events(tmp_path, 7)
