"""Figures of events, and that the check of leakage sees what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.events.figures import check_leakage, gini, shape_figures
from libs.data.events.store import EventStore
from libs.data.validation.problems import Problems


def store(times, items, ends, offsets=(0, 4)):
    return EventStore(
        np.array(offsets, np.int64),
        np.array(items, np.int32),
        np.array(times, np.int64),
        np.array(ends, np.int64).reshape(-1, 2),
        max(items),
    )


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    values = np.array(counts, np.int64)
    mean = values.mean()
    expected = 0.0 if not mean else np.abs(values[:, None] - values[None]).mean() / (2 * mean)
    assert gini(values) == pytest.approx(expected, abs=1e-12)


def test_clean_events():
    problems = Problems()
    found = check_leakage(store([1, 2, 3, 4], [1, 2, 3, 1], [2, 3]), problems)
    assert found == {
        "events_out_of_order": 0,
        "ties_across_splits": 0,
        "training_events_after_first_test": 0,
        "test_targets": 1,
        "test_targets_seen_before": 1,
    }
    assert problems.listed == []


def test_a_later_event_in_an_earlier_split_is_an_error():
    problems = Problems()
    assert check_leakage(store([1, 5, 3, 4], [1, 2, 3, 4], [2, 3]), problems)["events_out_of_order"] == 1
    assert problems.fatal


def test_others_may_train_later_and_it_is_counted():
    problems = Problems()
    events = store([1, 2, 3, 4, 9, 10, 11, 12], [1, 2, 3, 4, 1, 2, 3, 4], [[2, 3], [6, 7]], (0, 4, 8))
    assert check_leakage(events, problems)["training_events_after_first_test"] == 2
    assert not problems.fatal


def test_figures_of_the_shape():
    events = store([1, 2, 3, 4, 1, 2], [1, 2, 3, 1, 1, 2], [[4, 4], [6, 6]], (0, 4, 6))
    figures = shape_figures(events, events.training_counts()[1:])
    assert figures["events_per_cell"] == 1.0
    assert figures["events_per_user"]["min"] == 2
    assert figures["training_events_per_item"]["max"] == 3
