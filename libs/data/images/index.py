"""The index of a data set: one row a picture, gzip-compressed CSV on disk, columns of arrays in memory."""

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError
from libs.data.manifest import Split

COLUMNS = ("id", "path", "label", "split", "width", "height", "mode", "sha256")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True)
class Row:
    """One picture.

    `path` is relative to `pictures/` or to the root of data in place, empty for arrays; `label` -1 means none; sizes
    are in px.
    """

    path: str
    label: int
    split: Split
    width: int
    height: int
    mode: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Index:
    """The index as columns; the row number is the picture's id. About 180 bytes a picture.

    Attributes:
        path: UTF-8 bytes, `S` array [N].
        label: int64 [N].
        split: int8 [N], position in `SPLITS`.
        width, height: int32 [N], px.
        sha256: uint8 [N, 32], of the picture files.
    """

    path: NDArray[np.bytes_]
    label: NDArray[np.int64]
    split: NDArray[np.int8]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    sha256: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read `index.csv.gz`.

        Raises:
            DataError: the header is not the index's, or the ids do not count from 0.
        """
        with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream)
            if tuple(next(rows, ())) != COLUMNS:
                raise DataError(f"{file.name} does not begin with the columns {','.join(COLUMNS)}")
            chunks = list(_chunks(rows))
        columns = [np.concatenate(column) for column in zip(*chunks, strict=True)] if chunks else _chunk([])
        if not np.array_equal(columns[0], np.arange(len(columns[0]))):
            raise DataError(f"{file.name}: the ids do not count from 0 upwards")
        return cls(*columns[1:])


def write_index(file: Path, rows: Iterable[Row]) -> str:
    """Write the rows, with equal bytes for equal rows, and return the SHA-256 (hex) of the uncompressed text."""
    digest = hashlib.sha256()
    with file.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        for text in _csv_chunks(rows):
            digest.update(text)
            packed.write(text)
    return digest.hexdigest()


def _csv_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    yield (",".join(COLUMNS) + "\n").encode()
    numbered = enumerate(rows)
    while chunk := list(islice(numbered, _CHUNK_ROWS)):
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows((i, r.path, r.label, r.split, r.width, r.height, r.mode, r.sha256) for i, r in chunk)
        yield text.getvalue().encode()


def _chunks(rows: Iterator[list[str]]) -> Iterator[list[NDArray[Any]]]:
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        yield _chunk(chunk)


def _chunk(rows: Sequence[Sequence[str]]) -> list[NDArray[Any]]:
    ids, paths, labels, splits, widths, heights, _, digests = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    return [
        np.array(ids, dtype=np.int64),
        np.array([path.encode() for path in paths], dtype=np.bytes_),
        np.array(labels, dtype=np.int64),
        np.array([SPLITS.index(split) for split in splits], dtype=np.int8),
        np.array(widths, dtype=np.int32),
        np.array(heights, dtype=np.int32),
        np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(-1, 32),
    ]
