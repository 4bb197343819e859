"""Looking at picture files for validation, in a few processes when there are many."""

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from libs.data.errors import DataError, PictureError
from libs.data.images.decode import open_picture
from libs.data.images.fingerprint import difference_hash
from libs.data.processes import exit_with_parent, forkserver
from libs.data.statistics import PixelSums

_CHUNK_FILES = 64
_PARALLEL_FROM_FILES = 1000
_MOST_PROCESSES = 16
_BYTES_PER_PIXEL = 8  # four channels of 16 bits, not compressed
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inspection:
    """What validation keeps of a picture.

    Attributes:
        width, height: px, upright.
        mode: Pillow's mode of the file, or L, RGB of an array.
        grey: it has no colour.
        sha256: hex digest of the file, or of an array's bytes.
        fingerprint: `difference_hash`.
        sums: of its pixels.
        notes: what is odd about it.
        size_bytes: of the file.
    """

    width: int
    height: int
    mode: str
    grey: bool
    sha256: str
    fingerprint: int
    sums: PixelSums
    notes: tuple[str, ...] = ()
    size_bytes: int = 0


def inspect_file(file: Path, max_pixels: int) -> Inspection | str:
    """Decode one picture file; a string says why it cannot be read."""
    try:
        content = _read(file, max_pixels)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            decoded = open_picture(content, max_pixels=max_pixels)
    except (PictureError, OSError) as error:
        return str(error)
    noted = dict.fromkeys(str(warning.message) for warning in caught)
    return _inspection(decoded.picture, decoded.mode, decoded.grey, content, (*decoded.notes, *noted))


def inspect_array(picture: np.ndarray) -> Inspection:
    """Look at one array picture, uint8 [H, W, 1 or 3]."""
    content = np.ascontiguousarray(picture)
    image = Image.fromarray(content[:, :, 0] if content.shape[2] == 1 else content)
    return _inspection(image, image.mode, image.mode == "L", content.tobytes(), ())


def inspect_files(files: Sequence[Path], max_pixels: int) -> Iterator[Inspection | str]:
    """Inspect files in order, holding a few chunks at a time; many files are shared by several processes.

    Raises:
        DataError: a file crashed the decoder's process.
    """
    processes = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    if len(files) < _PARALLEL_FROM_FILES or processes == 1:
        yield from (inspect_file(file, max_pixels) for file in files)
        return
    chunks = [files[start : start + _CHUNK_FILES] for start in range(0, len(files), _CHUNK_FILES)]
    with ProcessPoolExecutor(processes, forkserver(), initializer=exit_with_parent) as pool:
        try:
            yield from _in_order(pool, chunks, max_pixels, ahead=4 * processes)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, chunks: Sequence[Sequence[Path]], max_pixels: int, ahead: int
) -> Iterator[Inspection | str]:
    waiting: deque[tuple[Sequence[Path], Future[list[Inspection | str]]]] = deque()
    following = iter(chunks)
    while True:
        while len(waiting) < ahead and (chunk := next(following, None)) is not None:
            waiting.append((chunk, pool.submit(_inspect_chunk, chunk, max_pixels)))
        if not waiting:
            return
        chunk, future = waiting.popleft()
        try:
            yield from future.result()
        except BrokenProcessPool as error:
            raise DataError(
                f"A picture from {chunk[0].name!r} to {chunk[-1].name!r} (or shortly after) crashed the decoder; "
                "take it out and try again."
            ) from error


def _inspect_chunk(files: Sequence[Path], max_pixels: int) -> list[Inspection | str]:
    return [inspect_file(file, max_pixels) for file in files]


def _read(file: Path, max_pixels: int) -> bytes:
    limit = max_pixels * _BYTES_PER_PIXEL + _HEADER_BYTES
    size = file.stat().st_size
    if size > limit:
        raise PictureError(f"the file has {size:,} bytes, more than {limit:,}; it was not read")
    return file.read_bytes()


def _inspection(picture: Image.Image, mode: str, grey: bool, content: bytes, notes: tuple[str, ...]) -> Inspection:
    histogram = np.array(picture.histogram(), dtype=np.int64).reshape(-1, 256)
    return Inspection(
        width=picture.width,
        height=picture.height,
        mode=mode,
        grey=grey,
        sha256=hashlib.sha256(content).hexdigest(),
        fingerprint=difference_hash(picture),
        sums=PixelSums.of_histogram(histogram),
        notes=notes,
        size_bytes=len(content),
    )
