"""Delimited text (CSV, TSV; plain or gzip) in blocks of whole records, so that memory does not grow with the file.

Records are split by us, fields by polars: a block ends at a line end outside quotes, and its rows are numbered on.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import polars as pl

from libs.data.archives.limits import ArchiveLimits, Meter
from libs.data.errors import DataError

BLOCK_BYTES = 16 << 20
_LONGEST_RECORD_BYTES = 8 << 20
_MOST_COLUMNS = 1000
_GZIP = b"\x1f\x8b"
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = ("\t", ",", ";", "|")

Tick = Callable[[float], None]
"""Told the fraction done; may raise to stop."""


class DelimitedFile:
    """A text file of columns. Quotes mean nothing where a tab separates.

    Args:
        path: the file; gzip is told by its content.
        name: of it, for people.
        separator: one character; None: the commonest of tab, comma, semicolon and bar in the first line.
        header: whether the first line holds the columns' names; else they are "1", "2" ….
        limits: of what gzip may unpack to.
        block_bytes: read at a time.

    Attributes:
        columns: their names.

    Raises:
        DataError: empty, not text, broken, or a first line without end.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        separator: str | None,
        *,
        header: bool,
        limits: ArchiveLimits,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._limits = limits
        self._path = path
        self._name = name
        self._header = header
        self._block_bytes = block_bytes
        with path.open("rb") as packed, self._unpacked(packed) as stream:
            first = self._first_line(stream)
        text = first.decode("utf-8", "replace")
        self._separator = separator or max(_SEPARATORS, key=text.count)
        self._quote = None if self._separator == "\t" else '"'
        fields = self._fields(first)
        self.columns = fields if header else [str(number + 1) for number in range(len(fields))]
        self._check_columns()

    def blocks(self, columns: list[str], tick: Tick) -> Iterator[tuple[int, pl.DataFrame]]:
        """Some columns as strings, block by block: number of the block's first row (from 0), and its rows.

        A field that is not there is null; bytes that are not UTF-8 become U+FFFD.

        Raises:
            DataError: broken compression, a quote that is not closed, a record beyond measure, or a gzip bomb.
        """
        done = 0
        for block in self._records(tick):
            rows = self._parse(block, columns, done)
            yield done, rows
            done += len(rows)

    def _parse(self, block: bytes, columns: list[str], done: int) -> pl.DataFrame:
        try:
            rows = pl.read_csv(
                block,
                has_header=False,
                separator=self._separator,
                quote_char=self._quote,
                schema=dict.fromkeys(self.columns, pl.String),
                truncate_ragged_lines=True,
                missing_columns="insert",
                extra_columns="ignore",
                encoding="utf8-lossy",
            )
        except pl.exceptions.PolarsError:
            raise DataError(
                f"{self._name!r} cannot be read after row {done}: a quote is not closed. Write quotes inside a field "
                "twice, or separate the columns by tabs, where quotes mean nothing."
            ) from None
        return rows.select(columns)

    def _records(self, tick: Tick) -> Iterator[bytes]:
        """The file without its header, cut at ends of records."""
        packed_bytes = max(self._path.stat().st_size, 1)
        meter = Meter(self._limits, packed_bytes)
        rest = b""
        with self._path.open("rb") as packed, self._unpacked(packed) as stream:
            if self._header:
                rest = self._first_line(stream, keep_rest=True)
                meter.unpacked(len(rest), self._name)
            while fresh := self._read(stream):
                tick(packed.tell() / packed_bytes)
                meter.unpacked(len(fresh), self._name)
                rest += fresh
                end = self._last_end(rest)
                if end:
                    yield rest[:end]
                    rest = rest[end:]
                if len(rest) > self._block_bytes + _LONGEST_RECORD_BYTES:
                    raise DataError(
                        f"{self._name!r} has a record of more than {_LONGEST_RECORD_BYTES >> 20} MB; "
                        "most likely a quote is not closed."
                    )
        if rest.strip(b"\r\n"):
            yield rest

    def _last_end(self, block: bytes) -> int:
        """Where the last whole record ends; 0 if none does."""
        end = block.rfind(b"\n") + 1
        if self._quote is None:
            return end
        quotes = block.count(b'"', 0, end)
        while end and quotes % 2:
            before = block.rfind(b"\n", 0, end - 1) + 1
            quotes -= block.count(b'"', before, end)
            end = before
        return end

    def _read(self, stream: IO[bytes]) -> bytes:
        try:
            return stream.read(self._block_bytes)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._name!r} is broken or cut off ({error}); send it again.") from None

    def _first_line(self, stream: IO[bytes], *, keep_rest: bool = False) -> bytes:
        """The first line, or what was read behind it."""
        head = b""
        while b"\n" not in head and len(head) <= _LONGEST_RECORD_BYTES and (fresh := self._read(stream)):
            head += fresh
        self._check_text(head)
        line, _, rest = head.removeprefix(_UTF8_MARK).partition(b"\n")
        return rest if keep_rest else line.rstrip(b"\r")

    def _check_text(self, head: bytes) -> None:
        if head.startswith(_UTF16_MARKS):
            raise DataError(f"{self._name!r} is UTF-16; save it as UTF-8.")
        if not head.strip():
            raise DataError(f"{self._name!r} is empty.")
        if b"\0" in head[:4096]:
            raise DataError(f"{self._name!r} is no text; send CSV, TSV (also .gz) or Parquet.")
        if b"\n" not in head and len(head) > _LONGEST_RECORD_BYTES:
            raise DataError(f"The first line of {self._name!r} does not end; it is no table.")

    def _fields(self, line: bytes) -> list[str]:
        try:
            row = pl.read_csv(
                line + b"\n",
                has_header=False,
                separator=self._separator,
                quote_char=self._quote,
                infer_schema=False,
                encoding="utf8-lossy",
            )
        except pl.exceptions.PolarsError as error:
            raise DataError(f"The first line of {self._name!r} cannot be read: {error}") from None
        return [str(field or "").strip() for field in row.row(0)]

    def _check_columns(self) -> None:
        if len(self.columns) > _MOST_COLUMNS:
            raise DataError(f"{self._name!r} has {len(self.columns)} columns; at most {_MOST_COLUMNS} are read.")
        for number, column in enumerate(self.columns):
            if not column:
                self.columns[number] = f"column {number + 1}"
        if twice := {column for column in self.columns if self.columns.count(column) > 1}:
            raise DataError(f"{self._name!r} has two columns called {sorted(twice)[0]!r}; rename one.")

    def _unpacked(self, packed: IO[bytes]) -> IO[bytes]:
        head = packed.read(2)
        packed.seek(0)
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed)) if head == _GZIP else packed
