"""The whole way from rows to arrays, against the same in plain Python."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.data.config import EventOptions, ValidationConfig
from libs.data.errors import DataError
from libs.data.events.build import build_events
from libs.data.events.spool import Spool

ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("vwxyz"), st.integers(0, 9)), min_size=1, max_size=40
)
SCHEMA = {"user": pl.String, "item": pl.String, "time": pl.Int64}


def built(folder, rows, **options):
    with Spool(folder / "spool") as spool:
        spool.add(pl.DataFrame(rows, SCHEMA, orient="row").with_columns(type=pl.lit(None, pl.String)))
    config = ValidationConfig(kind="events", events=EventOptions(**options))
    return build_events(spool, config, folder / "scratch", folder / "dataset")


def parts_of(made):
    """User → items of training, validation and testing."""
    ids = dict(enumerate(made.vocabulary.ids, start=1))
    bounds = np.concatenate([made.store.offsets[:-1, None], made.store.ends, made.store.offsets[1:, None]], axis=1)
    return {
        user: [[ids[item] for item in made.store.items[begin:end].tolist()] for begin, end in itertools.pairwise(row)]
        for user, row in zip(made.user_ids, bounds, strict=True)
    }


def plain(rows, newest):
    """Each user's newest events, the last two held out, and only items somebody trains with."""
    parts = {}
    for user in sorted({row[0] for row in rows}):
        items = [item for _, item, _ in sorted((row for row in rows if row[0] == user), key=lambda row: row[2])][
            -newest:
        ]
        cut = len(items) - 2 if len(items) >= 3 else len(items)
        parts[user] = [items[:cut], items[cut : cut + 1], items[cut + 1 :]]
    known = {item for train, _, _ in parts.values() for item in train}
    return {user: [[item for item in part if item in known] for part in three] for user, three in parts.items()}


@settings(max_examples=40)
@given(rows=ROWS, newest=st.integers(1, 6))
def test_leave_last_out_with_the_vocabulary_of_training(tmp_path_factory, rows, newest):
    made = built(tmp_path_factory.mktemp("events"), rows, max_user_events=newest)
    assert parts_of(made) == plain(rows, newest)
    trained = [item for train, _, _ in parts_of(made).values() for item in train]
    counts = {item: trained.count(item) for item in set(trained)}
    assert list(made.vocabulary.ids) == sorted(counts, key=lambda item: (-counts[item], item))
    assert made.vocabulary.training_counts.tolist() == sorted(counts.values(), reverse=True)


@settings(max_examples=40)
@given(rows=ROWS, moments=st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted))
def test_by_time_with_the_vocabulary_of_training(tmp_path_factory, rows, moments):
    texts = [f"1970-01-01T00:00:00.{moment:06d}Z" for moment in moments]
    options = {"split": "by-time", "validate_from": texts[0], "test_from": texts[1]}
    known = {item for _, item, time in rows if time < moments[0]}
    folder = tmp_path_factory.mktemp("events")
    if not known:
        with pytest.raises(DataError, match="leaves no events to train on"):
            built(folder, rows, **options)
        return
    found = parts_of(built(folder, rows, **options))
    for user in sorted({row[0] for row in rows}):
        own = sorted((row for row in rows if row[0] == user), key=lambda row: row[2])
        expected = [
            [item for _, item, time in own if begin <= time < end and item in known]
            for begin, end in ((0, moments[0]), (moments[0], moments[1]), (moments[1], 10))
        ]
        assert found.get(user, [[], [], []]) == expected
