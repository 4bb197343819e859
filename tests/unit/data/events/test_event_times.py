"""Times as people write them."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.data.events.times import LATEST_US, TimeReader, micros, moment

NEW_YEAR = micros(datetime(2024, 1, 1, tzinfo=UTC))


def read(values, unit="auto", dtype=pl.String):
    return TimeReader(unit).micros(pl.Series("t", values, dtype)).to_list()


@given(st.integers(micros(datetime(1900, 1, 1, tzinfo=UTC)), LATEST_US - 1))
def test_a_moment_and_its_microseconds_are_one(value):
    assert micros(moment(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01",
        "2024-01-01 00:00",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00.000",
        "2024-01-01T00:00:00Z",
        "2024-01-01 02:00:00+02:00",
        "2023-12-31T19:00-0500",
        " 2024-01-01 00:00:00 UTC ",
        "1704067200",
        "1704067200.0",
        "1704067200000",
        "1704067200000000",
        "1704067200000000000",
        "1.7040672e9",
    ],
)
def test_one_moment_in_many_ways(text):
    assert read([text]) == [NEW_YEAR]


def test_fractions_of_a_second_are_kept():
    assert read(["2024-01-01T00:00:00.123456Z"]) == [NEW_YEAR + 123_456]
    assert read(["1704067200.5"]) == [NEW_YEAR + 500_000]


def test_columns_of_parquet():
    assert read([datetime(2024, 1, 1)], dtype=pl.Datetime("ms")) == [NEW_YEAR]  # noqa: DTZ001
    assert read([datetime(2024, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("ns", "Europe/Berlin")) == [NEW_YEAR]
    assert read([date(2024, 1, 1)], dtype=pl.Date) == [NEW_YEAR]
    assert read([1_704_067_200], dtype=pl.Int32) == [NEW_YEAR]
    assert read([1_704_067_200.25, float("nan"), None], dtype=pl.Float64) == [NEW_YEAR + 250_000, None, None]


def test_the_first_batch_decides_and_strangers_are_null():
    reader = TimeReader("auto")
    assert reader.micros(pl.Series(["1704067200", "soon", "", None])).to_list() == [NEW_YEAR, None, None, None]
    assert reader.unit == "s"
    assert reader.micros(pl.Series(["1704067200000", "2024-01-01"])).to_list() == [None, None]
    words = TimeReader("auto")
    assert words.micros(pl.Series(["2024-01-01", "1704067200"])).to_list() == [None, NEW_YEAR]


def test_a_given_unit_is_taken():
    assert read(["1000"], "ms") == [10**6]
    assert read(["99999999999999999999", "-9999999999999"], "s") == [None, None]
