"""Times as people write them, brought to microseconds since 1970."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl

Unit = Literal["s", "ms", "us", "ns"]
_PER_SECOND: Mapping[Unit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_LARGEST: Mapping[Unit, float] = {"s": 1e11, "ms": 1e14, "us": 1e17}
"""A number below is taken for this unit: 1e11 seconds are the year 5138, and as milliseconds 1973."""
_WITH_OFFSET = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_WITHOUT = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
MICROS = 10**6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """A moment in microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(micros_since_epoch: int) -> datetime:
    """Microseconds since 1970 as a moment, exactly."""
    return _EPOCH + timedelta(microseconds=micros_since_epoch)


EARLIEST_US, LATEST_US = micros(datetime(1900, 1, 1, tzinfo=UTC)), micros(datetime(2200, 1, 1, tzinfo=UTC))


class TimeReader:
    """Reads the times of one file; the first batch decides whether they are numbers, and of which unit.

    Args:
        unit: of numbers; `auto`: by the median size of the first batch.

    Attributes:
        unit: of numbers, as given or found out; None: not numbers, or nothing read yet.
    """

    def __init__(self, unit: Unit | Literal["auto"]) -> None:
        self.unit: Unit | None = None if unit == "auto" else unit
        self._numbers: bool | None = None

    def micros(self, times: pl.Series) -> pl.Series:
        """Microseconds since 1970, int64; null where a time cannot be read or lies outside the years 1900 to 2199.

        Times without an offset are taken for UTC.
        """
        if times.dtype.is_temporal():
            found = _of_temporal(times)
        elif times.dtype.is_numeric():
            found = self._of_numbers(times)
        else:
            found = self._of_text(times.cast(pl.String, strict=False).str.strip_chars())
        inside = found.is_between(EARLIEST_US, LATEST_US, closed="left")
        return found.set(~inside.fill_null(value=False), None)

    def _of_text(self, times: pl.Series) -> pl.Series:
        if self._numbers is False:
            return _of_iso(times)
        numbers = times.cast(pl.Int64, strict=False)
        if numbers.null_count() > times.null_count():
            numbers = times.cast(pl.Float64, strict=False)
        if self._numbers is None:
            others = _of_iso(times)
            if numbers.null_count() == others.null_count() == len(times):
                return others
            self._numbers = numbers.null_count() <= others.null_count()
        return self._of_numbers(numbers) if self._numbers else _of_iso(times)

    def _of_numbers(self, numbers: pl.Series) -> pl.Series:
        unit = self.unit
        if unit is None:
            values = numbers.cast(pl.Float64)
            median = values.filter(values.is_finite().fill_null(value=False)).abs().median()
            if not isinstance(median, float):
                return numbers.cast(pl.Int64, strict=False)
            self.unit = unit = _unit_of(median)
        factor = _PER_SECOND[unit]
        if numbers.dtype.is_integer():
            whole = numbers.cast(pl.Int64, strict=False)
            fits = whole.is_between(EARLIEST_US // MICROS * factor, LATEST_US // MICROS * factor)
            whole = whole.set(~fits.fill_null(value=False), None)
            return whole // (factor // MICROS) if factor > MICROS else whole * (MICROS // factor)
        return (numbers * (MICROS / factor)).round().cast(pl.Int64, strict=False)


def _unit_of(number: float) -> Unit:
    for unit, largest in _LARGEST.items():
        if number < largest:
            return unit
    return "ns"


def _of_temporal(times: pl.Series) -> pl.Series:
    if times.dtype not in (pl.Datetime, pl.Date):
        return pl.Series(times.name, [None] * len(times), pl.Int64)
    return times.cast(pl.Datetime("us")).to_physical()


def _of_iso(times: pl.Series) -> pl.Series:
    text = times.str.replace(" ", "T", literal=True).str.replace(r"(?i)T?(utc|gmt)$", "Z").alias("time")
    offset = [pl.col("time").str.to_datetime(form, strict=False, time_unit="us") for form in _WITH_OFFSET]
    without = [pl.col("time").str.to_datetime(form, strict=False, time_unit="us") for form in _WITHOUT]
    both = [*(form.dt.replace_time_zone(None) for form in offset), *without]
    return text.to_frame().select(pl.coalesce(both).alias(times.name)).to_series().to_physical()
