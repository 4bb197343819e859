"""Events on their way: rows of numbers on disk, in the order they were read, and the ids these numbers stand for.

Text is read once. Memory grows with the number of different users and items, not with the number of events.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.data.archives.files import disk_full
from libs.data.errors import DataError

_COLUMNS = {"user": np.uint32, "item": np.uint32, "time": np.int64, "type": np.uint16}
_MOST_TYPES = 1000


class Codes:
    """Numbers from 0 for strings, in the order they are first met.

    The strings are held by polars, about 40 bytes each and what they are long.
    """

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        # Polars forgets the numbers of a type when the last series of it goes; this one stays.
        self._anchor = pl.Series("id", [], pl.String).cast(self._type)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def encode(self, texts: pl.Series) -> NDArray[np.uint32]:
        """The number of each string; new ones get new numbers."""
        codes: NDArray[np.uint32] = texts.cast(self._type).to_physical().to_numpy()
        self._count = max(self._count, int(codes.max(initial=0)) + 1) if len(codes) else self._count
        return codes

    def texts(self) -> pl.Series:
        """Every string by its number."""
        if not self._count:
            return pl.Series("id", [], pl.String)
        numbers = pl.Series("id", np.arange(self._count, dtype=np.uint32))
        return numbers.cat.to(self._type).cast(pl.String)


class Spool:
    """Writes events and reads them again. A context manager, which closes what it writes.

    Types have numbers from 1 in the order they are met; 0 is no type.

    Args:
        folder: made when absent; holds 18 bytes an event.
        types: kept; None: all.

    Attributes:
        users, items: numbers of ids.
        by_type: events of each type met, those that are not kept too.
        events: written.
    """

    def __init__(self, folder: Path, types: Sequence[str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._kept = None if types is None else pl.Series(list(types), dtype=pl.String)
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()
        self.users, self.items = Codes(), Codes()
        self.by_type: dict[str, int] = {}
        self.events = 0

    def __enter__(self) -> Self:
        for name in _COLUMNS:
            self._files[name] = self._open.enter_context(self._path(name).open("wb"))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, rows: pl.DataFrame) -> int:
        """Append rows of `user`, `item`, `time` and `type` that are all right; how many are kept.

        Raises:
            DataError: there are more types than anybody has.
            DiskFullError: there is no room.
        """
        self._count_types(rows["type"].drop_nulls())
        if self._kept is not None:
            rows = rows.filter(pl.col("type").is_in(self._kept.implode()))
        numbers = {name: number for number, name in enumerate(self.by_type, start=1)}
        types = rows["type"].replace_strict(numbers, default=0, return_dtype=pl.UInt16) if numbers else None
        self._write("user", self.users.encode(rows["user"]))
        self._write("item", self.items.encode(rows["item"]))
        self._write("time", rows["time"].to_numpy())
        self._write("type", np.zeros(len(rows), np.uint16) if types is None else types.to_numpy())
        self.events += len(rows)
        return len(rows)

    def chunks(self, rows: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Columns `user`, `item`, `time`, `type` in pieces of some rows, in the order they were added."""
        if not self.events:
            return
        mapped = {name: np.memmap(self._path(name), dtype, "r") for name, dtype in _COLUMNS.items()}
        for begin in range(0, self.events, rows):
            yield {name: np.asarray(column[begin : begin + rows]) for name, column in mapped.items()}

    def _count_types(self, types: pl.Series) -> None:
        if types.is_empty():
            return
        for name, count in types.value_counts().sort("type").iter_rows():
            self.by_type[name] = self.by_type.get(name, 0) + count
        if len(self.by_type) > _MOST_TYPES:
            raise DataError(f"There are more than {_MOST_TYPES} types of events; is type_column the right column?")

    def _write(self, name: str, values: NDArray[Any]) -> None:
        try:
            self._files[name].write(np.ascontiguousarray(values, _COLUMNS[name]).data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(self._folder, f"after {self.events:,} events") from error
            raise

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.spool"
