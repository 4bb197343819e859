"""`arrays.npz` of a data set: written piece by piece, and mapped into memory, so that a large one costs no RAM."""

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from libs.data.errors import DataError

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, …, lengths of name and extra field


class ArraysWriter:
    """Writes `x` of an uncompressed npz piece by piece. Equal pictures give equal bytes.

    Args:
        file: to write.
        shape: N, H, W, C.
    """

    def __init__(self, file: Path, shape: tuple[int, int, int, int]) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._member = self._archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._member, header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._member.close()
        self._archive.close()

    def add(self, pictures: NDArray[np.uint8]) -> None:
        """Append uint8 [n, H, W, C]; all pieces together must give the announced N."""
        self._member.write(np.ascontiguousarray(pictures).data)


def map_pictures(file: Path) -> NDArray[np.uint8]:
    """The member `x` of an uncompressed npz as a read-only memory map.

    Returns:
        uint8 [N, H, W, C].

    Raises:
        DataError: there is no `x`, it is compressed, or it is not uint8 with four axes.
    """
    with zipfile.ZipFile(file) as archive:
        try:
            member = archive.getinfo("x.npy")
        except KeyError:
            raise DataError(f"{file.name} has no array named x") from None
        if member.compress_type != zipfile.ZIP_STORED:
            raise DataError(f"{file.name} is compressed: write it with numpy.savez, not savez_compressed")
    with file.open("rb") as stream:
        stream.seek(member.header_offset)
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
        stream.seek(name_bytes + extra_bytes, 1)
        shape, fortran, dtype = _npy_header(stream)
        offset = stream.tell()
    if dtype != np.uint8 or len(shape) != 4 or fortran:
        raise DataError(f"{file.name}: x must be uint8 [N, H, W, C] in C order, got {dtype} {shape}")
    return np.memmap(file, np.uint8, "r", offset, shape)


def _npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)
