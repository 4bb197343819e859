"""Tables of events, whatever their format, as batches of the same columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from libs.data.archives import ArchiveLimits
from libs.data.archives.limits import Meter
from libs.data.config import EventOptions
from libs.data.errors import DataError
from libs.data.events.columns import Role, assign_roles
from libs.data.events.delimited import BLOCK_BYTES, DelimitedFile, Tick
from libs.data.events.times import TimeReader

_PARQUET = b"PAR1"
_PARQUET_ROWS = 1 << 18
_VALUE_BYTES = 16  # of a value in memory: a text is at least its length and its place
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of a table.

    Attributes:
        rows: columns `row` (int64, from 0 in the file), `user`, `item`, `type` (strings, null where missing), `time`
            (microseconds since 1970, null where missing or unreadable), `wrong` (what is wrong with the row, or null).
        empty: rows of nothing at all, which are not among them.
    """

    rows: pl.DataFrame
    empty: int


class Table:
    """A file with columns.

    Args:
        path: the file.
        name: in the upload.
        options: separator, header and the columns' names.
        limits: of what it may unpack to.
        block_bytes: read at a time.

    Attributes:
        columns: names.
        roles: what they are for.

    Raises:
        DataError: it is no table, or the options name one column for two roles.
    """

    def __init__(
        self, path: Path, name: str, options: EventOptions, limits: ArchiveLimits, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.path = path
        self.name = name
        self._options = options
        self._limits = limits
        self._text: DelimitedFile | None = None
        self._first_line: int | None = None
        if is_parquet(path):
            self.columns = _parquet_columns(path, name)
        else:
            separator = {"auto": None, "tab": "\t"}.get(options.separator, options.separator)
            self._text = DelimitedFile(
                path, name, separator, header=options.header, limits=limits, block_bytes=block_bytes
            )
            self.columns = self._text.columns
            self._first_line = 2 if options.header else 1
        self.roles: Mapping[Role, str] = assign_roles(self.columns, options)

    def place(self, row: int) -> str:
        """Where people find a row (from 0): by its line where the file is text, from 1 and with the header counted."""
        return f"row {row}" if self._first_line is None else f"line {row + self._first_line}"

    def events(self, now_us: int, tick: Tick) -> Iterator[Batch]:
        """All rows, batch by batch.

        Args:
            now_us: later times are wrong; microseconds since 1970.
            tick: told the fraction done.

        Raises:
            DataError: the file is broken.
        """
        reader = TimeReader(self._options.time_unit)
        for first, block in self.blocks(list(self.roles.values()), tick):
            yield self._batch(first, block, reader, now_us)

    def blocks(self, columns: list[str], tick: Tick) -> Iterator[tuple[int, pl.DataFrame]]:
        """Some columns, block by block: number of the block's first row (from 0), and its rows.

        Raises:
            DataError: the file is broken, or unpacks to more than its limits allow.
        """
        if self._text is not None:
            yield from self._text.blocks(columns, tick)
            return
        done, rows = 0, _parquet_rows(self.path, self.name)
        # A few bytes can stand for billions of equal rows, and a group of rows is unpacked as a whole.
        Meter(self._limits, self.path.stat().st_size).check(rows * len(columns) * _VALUE_BYTES, self.name)
        try:
            for block in (
                pl.scan_parquet(self.path, glob=False).select(columns).collect_batches(chunk_size=_PARQUET_ROWS)
            ):
                yield done, block
                done += len(block)
                tick(done / max(rows, 1))
        except pl.exceptions.PolarsError as error:
            raise DataError(f"{self.name!r} is broken after row {done} ({error}); write it again.") from None

    def _batch(self, first: int, block: pl.DataFrame, reader: TimeReader, now_us: int) -> Batch:
        raw_time = block[self.roles["time"]]
        check_readable(raw_time)
        columns = {role: text_of(block[self.roles[role]]) for role in ("user", "item")}
        kind = (
            text_of(block[self.roles["type"]])
            if "type" in self.roles
            else pl.Series([None] * len(block), dtype=pl.String)
        )
        given = raw_time.is_not_null() & (raw_time != "" if raw_time.dtype == pl.String else True)
        rows = pl.DataFrame(
            {
                "row": pl.Series(range(first, first + len(block)), dtype=pl.Int64),
                **columns,
                "type": kind,
                "time": reader.micros(raw_time),
                "given": given,
            }
        )
        full = rows.filter(pl.any_horizontal(pl.col("user", "item").is_not_null(), pl.col("given")))
        return Batch(full.with_columns(_wrong(now_us)).drop("given"), len(rows) - len(full))


def is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet does."""
    with path.open("rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET


def _wrong(now_us: int) -> pl.Expr:
    """What is wrong with a row, the first that is found; null: nothing."""
    user, item, time = pl.col("user"), pl.col("item"), pl.col("time")
    odd = pl.any_horizontal(pl.col("user", "item").str.contains("\ufffd", literal=True))
    long = pl.any_horizontal(pl.col("user", "item").str.len_bytes() > _LONGEST_ID)
    return (
        pl.when(user.is_null())
        .then(pl.lit("missing-user"))
        .when(item.is_null())
        .then(pl.lit("missing-item"))
        .when(~pl.col("given"))
        .then(pl.lit("missing-time"))
        .when(odd)
        .then(pl.lit("not-utf8"))
        .when(long)
        .then(pl.lit("long-id"))
        .when(time.is_null())
        .then(pl.lit("unreadable-time"))
        .when(time > now_us)
        .then(pl.lit("future-time"))
        .alias("wrong")
    )


def check_readable(column: pl.Series) -> None:
    """Refuse what has no one way to be written as text, as Parquet's lists, records and spans of time.

    Raises:
        DataError: the column holds such.
    """
    kind = column.dtype
    if kind.is_nested() or kind in (pl.Binary, pl.Duration, pl.Object):
        raise DataError(f"The column {column.name!r} holds {kind}; expected text or numbers.")


def text_of(column: pl.Series) -> pl.Series:
    """A column as strings without blanks around them, null where nothing is left; numbers as they are written.

    Raises:
        DataError: as `check_readable`.
    """
    check_readable(column)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _parquet_columns(path: Path, name: str) -> list[str]:
    try:
        return pl.scan_parquet(path, glob=False).collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{name!r} is no Parquet file that can be read ({error}); write it again.") from None


def _parquet_rows(path: Path, name: str) -> int:
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{name!r} is no Parquet file that can be read ({error}); write it again.") from None
