"""Reading an npz from a stranger: headers first, then rows as a stream, never a pickle."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from libs.data.archives import ArchiveLimits
from libs.data.archives.zips import open_zip
from libs.data.errors import DataError

_CHUNK_BYTES = 8 << 20
_LARGEST_LOADED_BYTES = 1 << 30
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


class ArrayError(DataError):
    """An array of an npz cannot be used.

    Attributes:
        array: its name.
        code: stable name of what is wrong.
    """

    def __init__(self, array: str, code: str, message: str) -> None:
        super().__init__(f"array {array!r} {message}")
        self.array = array
        self.code = code


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What the header of an array says, checked against the size of its member."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class NpzFile:
    """An npz, opened. Close it, or use it as a context manager.

    Args:
        file: the npz.
        limits: of the archive.

    Raises:
        ArchiveError: it is no zip, unsafe or a bomb.
    """

    def __init__(self, file: Path, limits: ArchiveLimits) -> None:
        self._archive = open_zip(file, limits)
        self.names = [name.removesuffix(".npy") for name in self._archive.namelist()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def header(self, name: str) -> ArrayHeader:
        """Read the header of one array.

        Raises:
            ArrayError: broken, of Python objects, structured, or not in C order.
        """
        with self._open(name) as stream:
            return _header(name, stream, self._archive.getinfo(f"{name}.npy").file_size)

    def rows(self, header: ArrayHeader) -> Iterator[NDArray[Any]]:
        """The array in pieces of whole rows, about 8 MB each.

        Raises:
            ArrayError: the data is broken or ends too early.
        """
        row_bytes = header.dtype.itemsize * int(np.prod(header.shape[1:], dtype=np.int64))
        rows = max(1, _CHUNK_BYTES // max(row_bytes, 1))
        with self._open(header.name) as stream:
            _header(header.name, stream, self._archive.getinfo(f"{header.name}.npy").file_size)
            for start in range(0, header.shape[0], rows):
                count = min(rows, header.shape[0] - start)
                content = _read(header.name, stream, count * row_bytes)
                yield np.frombuffer(content, header.dtype).reshape(count, *header.shape[1:])

    def load(self, header: ArrayHeader) -> NDArray[Any]:
        """A whole small array.

        Raises:
            ArrayError: larger than 1 GB, broken, or it ends too early.
        """
        size = header.dtype.itemsize * int(np.prod(header.shape, dtype=np.int64))
        if size > _LARGEST_LOADED_BYTES:
            raise ArrayError(header.name, "array-too-large", f"has {size:,} bytes, more than 1 GB")
        if header.shape == () or header.shape[0] == 0:
            return np.empty(header.shape, header.dtype)
        return np.concatenate(list(self.rows(header)))

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(f"{name}.npy")
        except _BROKEN as error:
            raise ArrayError(name, "broken-array", f"cannot be read ({error})") from error


def is_npz(file: Path, limits: ArchiveLimits) -> bool:
    """Whether a zip holds arrays and nothing else.

    Raises:
        ArchiveError: it is no zip, unsafe or a bomb.
    """
    with open_zip(file, limits) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _header(name: str, stream: IO[bytes], member_bytes: int) -> ArrayHeader:
    try:
        shape, fortran, dtype = _HEADER_READERS[np.lib.format.read_magic(stream)](stream)
        data_bytes = member_bytes - stream.tell()
    except (*_BROKEN, KeyError, ValueError, OSError) as error:
        raise ArrayError(name, "broken-array", f"has a broken header ({error})") from error
    _check_dtype(name, dtype)
    if fortran and len(shape) > 1:
        raise ArrayError(
            name, "fortran-order", "is stored in Fortran order; save numpy.ascontiguousarray of it instead"
        )
    if min(shape, default=0) < 0 or dtype.itemsize * int(np.prod(shape, dtype=object)) != data_bytes:
        raise ArrayError(name, "broken-array", f"says {dtype} {shape}, but holds {data_bytes:,} bytes")
    return ArrayHeader(name, tuple(shape), dtype)


def _check_dtype(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise ArrayError(
            name,
            "object-array",
            "holds Python objects (a pickle), which is refused; save numbers, and strings as numpy.array(…, dtype=str)",
        )
    if dtype.kind not in "biufUS":
        raise ArrayError(name, "unknown-dtype", f"has dtype {dtype}; expected numbers or strings")


def _read(name: str, stream: IO[bytes], size_bytes: int) -> bytes:
    try:
        content = stream.read(size_bytes)
    except (*_BROKEN, OSError) as error:
        raise ArrayError(name, "broken-array", f"is broken ({error})") from error
    if len(content) != size_bytes:
        raise ArrayError(name, "broken-array", "ends too early")
    return content
