"""Filters on item features: what passes, what is refused and how, what is remembered."""

import sys
import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.manifest import ItemFeature
from libs.serving.errors import RequestError
from libs.serving.recommendation import filters as filters_module
from libs.serving.recommendation.filters import MOST_CONDITIONS, MOST_VALUES, ItemFilters

FEATURES = [
    ItemFeature(name="price", type="number"),
    ItemFeature(name="category", type="category"),
    ItemFeature(name="title", type="text"),
]
ROWS = {
    "price": [1.0, 2.0, None, 4.0],
    "category": ["book", None, "game", "book"],
    "title": ["a", "b", None, "d"],
}


@pytest.fixture
def filters() -> ItemFilters:
    return ItemFilters(pl.DataFrame(ROWS), FEATURES)


def passing(filters, conditions):
    blocked = filters.blocked(conditions).mask()
    assert blocked[0]
    return [number for number in range(1, len(blocked)) if not blocked[number]]


@pytest.mark.parametrize(
    ("conditions", "items"),
    [
        ({"price": {"<": 2}}, [1]),
        ({"price": {"<=": 2}}, [1, 2]),
        ({"price": {">": 2}}, [4]),
        ({"price": {">=": 2, "<": 4}}, [2]),
        ({"price": {"in": [1, 4.0, 9]}}, [1, 4]),
        ({"price": {"not_in": [1]}}, [2, 3, 4]),
        ({"price": {"missing": True}}, [3]),
        ({"price": {"missing": False}}, [1, 2, 4]),
        ({"category": {"in": ["book"]}}, [1, 4]),
        ({"category": {"in": []}}, []),
        ({"category": {"not_in": ["book"]}}, [2, 3]),
        ({"category": {"not_in": []}}, [1, 2, 3, 4]),
        ({"category": {"in": ["book"]}, "price": {">": 1}}, [4]),
        ({"title": {"in": ["a", "d"]}}, [1, 4]),
        ({"category": {"has": ["book", "film"]}, "title": {"has_not": ["d"]}}, [1]),
    ],
)
def test_what_passes(filters, conditions, items):
    assert passing(filters, conditions) == items


@pytest.mark.parametrize(
    ("conditions", "pointer", "words"),
    [
        ({"prise": {"<": 2}}, "/filters/prise", "Did you mean 'price'"),
        ({"zzz": {"<": 2}}, "/filters/zzz", "There are: price, category, title"),
        ({"price": {"=<": 2}}, "/filters/price/=<", "Did you mean"),
        ({"category": {"<": "b"}}, "/filters/category/<", "condition of a category"),
        ({"price": {"<": "2"}}, "/filters/price/<", "expected a finite number"),
        ({"price": {"<": True}}, "/filters/price/<", "expected a finite number"),
        ({"price": {"<": float("nan")}}, "/filters/price/<", "expected a finite number"),
        ({"price": {"in": 3}}, "/filters/price/in", "expected a list"),
        ({"price": {"in": [1, None]}}, "/filters/price/in/1", "expected a finite number"),
        ({"category": {"in": [1]}}, "/filters/category/in/0", "expected text"),
        ({"category": {"has": "book"}}, "/filters/category/has", "expected a list"),
        ({"category": {"has_all": ["x", "a|b"]}}, "/filters/category/has_all/1", "'|' stands between values"),
        ({"category": {"has_none": ["x"]}}, "/filters/category/has_none", "Did you mean 'has_not'"),
        ({"price": {"has": [1]}}, "/filters/price/has", "condition of a number"),
        ({"category": {"missing": "yes"}}, "/filters/category/missing", "true or false"),
        ({"category": {"in": ["x"] * (MOST_VALUES + 1)}}, "/filters/category/in", "at most"),
        ({"a/b~c": {"in": []}}, "/filters/a~1b~0c", "no item feature"),
        ({"price": {}}, "/filters/price", "no condition"),
        ({}, "/filters", "no condition"),
    ],
)
def test_what_is_wrong_is_named(filters, conditions, pointer, words):
    with pytest.raises(RequestError) as caught:
        filters.blocked(conditions)
    (problem,) = caught.value.problems
    assert problem.pointer == pointer
    assert words in problem.message


GENRES = st.sampled_from(["Action", "Act", "Comedy", "Sci-Fi", "a.b"])
TEXTS = st.none() | st.lists(GENRES, max_size=3).map("|".join) | st.lists(GENRES, max_size=3).map(" | ".join)


@given(st.lists(TEXTS, min_size=1, max_size=12), st.integers(1, 8), st.lists(GENRES, max_size=3))
def test_parts_are_found_as_in_plain_python(texts, times, values):
    """With `times` items a text, of which from 4 on the texts alone are looked at."""
    texts = texts * times
    filters = ItemFilters(pl.DataFrame({"category": pl.Series(texts, dtype=pl.String)}), FEATURES[1:2])
    held = [None if text is None else {part.strip() for part in text.split("|")} for text in texts]
    wanted = set(values)
    for operator, rule in (
        ("has", lambda parts: parts is not None and bool(parts & wanted)),
        ("has_all", lambda parts: parts is not None and wanted <= parts),
        ("has_not", lambda parts: parts is None or not parts & wanted),
    ):
        expected = [number for number, parts in enumerate(held, 1) if rule(parts)]
        assert passing(filters, {"category": {operator: values}}) == expected, operator


def test_conditions_are_limited():
    names = [f"f{i}" for i in range(MOST_CONDITIONS + 1)]
    many = ItemFilters(
        pl.DataFrame({name: [1.0] for name in names}), [ItemFeature(name=n, type="number") for n in names]
    )
    with pytest.raises(RequestError, match="more than 64 conditions"):
        many.blocked({name: {"<": 2} for name in names})


NUMBERS = st.none() | st.integers(-3, 3).map(float)
BOUND = st.integers(-3, 3)


@given(st.lists(NUMBERS, min_size=1, max_size=30), BOUND, BOUND, st.lists(BOUND, max_size=4))
def test_numbers_are_compared_as_in_plain_python(prices, low, high, never):
    filters = ItemFilters(pl.DataFrame({"price": pl.Series(prices, dtype=pl.Float64)}), FEATURES[:1])
    expected = [
        number
        for number, price in enumerate(prices, 1)
        if price is not None and low <= price < high and price not in never
    ]
    assert passing(filters, {"price": {">=": low, "<": high, "not_in": never}}) == expected


def test_repeated_filters_are_compiled_once_and_the_memory_is_bounded(filters, monkeypatch):
    compiled = []
    original = ItemFilters._compile
    monkeypatch.setattr(ItemFilters, "_compile", lambda self, c: compiled.append(1) or original(self, c))
    for _ in range(3):
        filters.blocked({"price": {"<": 2}, "category": {"in": ["book"]}})
        filters.blocked({"category": {"in": ["book"]}, "price": {"<": 2}})
    assert len(compiled) == 1

    monkeypatch.setattr(filters_module, "_CACHED_BYTES", 2 * 257)
    small = ItemFilters(pl.DataFrame(ROWS), FEATURES)
    compiled.clear()
    for bound in (1, 2, 3, 3, 1):
        small.blocked({"price": {"<": bound}})
    assert len(compiled) == 4
    assert len(small._cached) == 2


def test_what_is_remembered_of_a_filter_is_small_however_long_the_filter_is(filters):
    values = [f"{n:0100d}" for n in range(500)]
    filters.blocked({"category": {"in": values}})
    (key,) = filters._cached
    assert sys.getsizeof(key) + sys.getsizeof(filters._cached[key]) + 64 < filters_module._ENTRY_BYTES

    with pytest.raises(RequestError) as refused:
        filters.blocked({"category": {"in": [f"{n:0200d}" for n in range(500)]}})
    (problem,) = refused.value.problems
    assert problem.pointer == "/filters"
    assert "at most 65536 are read" in problem.message
    assert len(filters._cached) == 1


def test_threads_share_the_cache():
    rows = 1_000
    filters = ItemFilters(pl.DataFrame({"price": np.arange(rows, dtype=np.float64)}), FEATURES[:1])
    filters._most_cached = 3
    wrong: list[int] = []

    def ask(offset: int) -> None:
        for i in range(60):
            bound = (i * 7 + offset) % 11
            if (~filters.blocked({"price": {"<": bound}}).mask()).sum() != bound:
                wrong.append(bound)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(filters._cached) == 3
