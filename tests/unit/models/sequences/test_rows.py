"""Rows of a model's tables in newer events: by id, and where new ones start."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.data.events.cooccurrence import count_together, training_items
from libs.data.events.ids import IdMap
from libs.data.events.store import EventStore
from libs.data.manifest import ItemFeature
from libs.models.sequences.rows import ItemRows, rows_by_id

HISTORIES = [[1, 2, 3, 9], [2, 4, 9, 9], [4, 5, 5, 9], [6, 9, 9, 9], [7, 8, 8, 9]]
"""Of five users; all of training."""


def data_of(folder: Path, features: Mapping[str, Sequence[str | None]], histories: Sequence[Sequence[int]]) -> Any:
    """What `ItemRows` reads of a data set; ids are "a" for item 1 and so on."""
    lengths = np.array([len(history) for history in histories])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.concatenate(histories).astype(np.int32)
    count = int(items.max())
    ends = np.stack([offsets[1:], offsets[1:]], axis=1)
    ids = [chr(ord("a") + number) for number in range(count)]
    frame = pl.DataFrame({"index": range(1, count + 1), "id": ids, **features})
    frame.write_parquet(folder / "items.parquet")
    manifest = SimpleNamespace(item_features=[ItemFeature(name=name, type="category") for name in features])
    store = EventStore(offsets, items, np.zeros(len(items), np.int64), ends, count)
    return SimpleNamespace(events=store, items=IdMap(folder / "items.parquet", 1), manifest=manifest)


@given(st.lists(st.text("abc", max_size=3), unique=True), st.lists(st.text("abc", max_size=3), unique=True))
def test_rows_are_those_of_the_id(ids: list[str], known: list[str]) -> None:
    rows = rows_by_id(ids, known)
    assert rows[0] == 0
    assert rows[1:].tolist() == [known.index(name) + 1 if name in known else -1 for name in ids]


def test_a_new_item_is_the_mean_of_what_it_was_met_with(tmp_path: Path) -> None:
    data = data_of(tmp_path, {}, HISTORIES)
    known = ["i", "a", "c", "e", "gone"]  # items 9, 1, 3, 5; new: 2, 4, 6, 7, 8
    table = torch.randn(6, 3, dtype=torch.float64)
    table[0] = 0
    rows = ItemRows(data, known)
    carried, start = rows.carried(table)
    counts = count_together(training_items(data.events), 9)
    for item in range(1, 10):
        if rows.rows[item] > 0:
            assert torch.equal(carried[item], table[rows.rows[item]])
            continue
        others = [other for other in range(1, 10) if rows.rows[other] > 0]
        weights = torch.from_numpy(counts.together(np.full(len(others), item), np.array(others)).astype(float))
        mean = (weights @ table[rows.rows[others]]) / weights.sum()
        torch.testing.assert_close(carried[item], mean)
    assert (start.by_cooccurrence, start.by_category, start.by_mean, rows.lost) == (5, 0, 0, 1)


def test_without_company_categories_count_and_then_all_items(tmp_path: Path) -> None:
    colours = ["red", "blue", "red", None, "green"]
    shapes = ["round", "round", "square", None, None]
    data = data_of(tmp_path, {"colour": colours, "shape": shapes}, [[1, 2, 1, 2], [3, 3], [4, 4], [5, 5]])
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 4.0]])
    carried, start = ItemRows(data, ["a", "b"]).carried(table)
    assert carried[3].tolist() == [1.0, 0.0]  # as red as a; nothing known is square
    assert carried[4].tolist() == carried[5].tolist() == [0.5, 2.0]
    assert (start.by_cooccurrence, start.by_category, start.by_mean) == (0, 1, 2)
    assert not carried[0].any()


def test_the_same_items_go_on_as_they_are(tmp_path: Path) -> None:
    data = data_of(tmp_path, {}, HISTORIES)
    table = torch.randn(10, 4)
    table[0] = 0
    carried, start = ItemRows(data, data.items.all_ids()).carried(table)
    assert torch.equal(carried, table)
    assert start.by_cooccurrence + start.by_category + start.by_mean == 0
