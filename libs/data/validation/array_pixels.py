"""Pictures of an npz: shapes, value ranges, and their way to uint8 [N, H, W, C]."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from libs.data.validation.npz import ArrayError, ArrayHeader, NpzFile
from libs.data.validation.problems import Problems

Levels = Literal["as they are", "0 to 1", "rounded", "high byte of 16 bits"]

_LISTED_ROWS = 20


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """How the rows of one array become pictures.

    Attributes:
        header: of the array.
        channels_first: rows are [C, H, W].
        height, width: px.
        channels: of the array: 1, 3 or 4 (RGBA, composited on white).
        levels: how values become 0 … 255.
    """

    header: ArrayHeader
    channels_first: bool
    height: int
    width: int
    channels: int
    levels: Levels

    def pictures(self, npz: NpzFile) -> Iterator[NDArray[np.uint8]]:
        """uint8 [n, H, W, 1 or 3], piece by piece.

        Raises:
            ArrayError: the data is broken.
        """
        for rows in npz.rows(self.header):
            pixels = _to_bytes(rows, self.levels)
            if self.header.shape[1:] == (self.height, self.width):
                pixels = pixels[..., None]
            if self.channels_first:
                pixels = np.moveaxis(pixels, 1, -1)
            yield _on_white(pixels) if self.channels == 4 else pixels


def plan_pictures(npz: NpzFile, name: str, max_pixels: int, problems: Problems) -> PicturePlan | None:
    """Check one array of pictures; reads it through once unless it is uint8. None: it cannot be used."""
    try:
        header = npz.header(name)
        height, width, channels, first = _axes(header, max_pixels)
        levels = _levels(npz, header, problems)
    except ArrayError as error:
        problems.error(error.code, f"{error}.", column=name)
        return None
    return None if levels is None else PicturePlan(header, first, height, width, channels, levels)


def _axes(header: ArrayHeader, max_pixels: int) -> tuple[int, int, int, bool]:
    """Height, width, channels, and whether channels come first."""
    shape = header.shape
    if header.dtype.kind in "US":
        raise ArrayError(header.name, "picture-dtype", "holds strings; expected numbers")
    if len(shape) == 3:
        height, width, channels, first = shape[1], shape[2], 1, False
    elif len(shape) == 4 and shape[3] in (1, 3, 4):
        height, width, channels, first = shape[1], shape[2], shape[3], False
    elif len(shape) == 4 and shape[1] in (1, 3, 4):
        height, width, channels, first = shape[2], shape[3], shape[1], True
    else:
        hint = "; reshape the rows to height and width" if len(shape) == 2 else ""
        message = f"has shape {shape}; expected [N, H, W] or [N, H, W, C] with C of 1, 3 or 4{hint}"
        raise ArrayError(header.name, "picture-shape", message)
    if not 0 < height * width <= max_pixels:
        raise ArrayError(header.name, "picture-size", f"has pictures of {width} x {height} px; limit {max_pixels:,} px")
    return height, width, channels, first


def _levels(npz: NpzFile, header: ArrayHeader, problems: Problems) -> Levels | None:
    """How values become bytes; None when some cannot (the problems name them)."""
    if header.dtype == np.uint8:
        return "as they are"
    highest, wrong, start = 0.0, 0, 0
    ceiling = 65_535 if header.dtype.kind in "iu" and header.dtype.itemsize == 2 else 255
    for rows in npz.rows(header):
        flat = rows.reshape(len(rows), -1)
        low, high = flat.min(axis=1).astype(np.float64), flat.max(axis=1).astype(np.float64)
        for row in np.flatnonzero(~((low >= 0) & (high <= ceiling))):  # NaN compares false
            wrong += 1
            if wrong <= _LISTED_ROWS:
                _note_range(header, int(start + row), float(low[row]), float(high[row]), problems)
        highest = max(highest, float(np.nanmax(high, initial=0.0)))
        start += len(rows)
    if wrong:
        return None
    if highest > 255:
        return "high byte of 16 bits"
    return "0 to 1" if highest <= 1 else "rounded"


def _note_range(header: ArrayHeader, row: int, low: float, high: float, problems: Problems) -> None:
    if np.isnan(low) or np.isinf([low, high]).any():
        problems.error("not-finite", f"{header.name}[{row}] has NaN or infinite values.", column=header.name, row=row)
        return
    message = f"{header.name}[{row}] has values from {low:g} to {high:g}; expected 0 to 1 or 0 to 255."
    problems.error("pixel-range", message, column=header.name, row=row)


def _to_bytes(rows: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    if levels == "as they are":
        return rows
    if levels == "high byte of 16 bits":
        return (rows.astype(np.uint16) >> 8).astype(np.uint8)
    factor = 255.0 if levels == "0 to 1" else 1.0
    return np.rint(rows.astype(np.float64) * factor).astype(np.uint8)


def _on_white(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite RGBA [n, H, W, 4] on white."""
    alpha = pictures[..., 3:].astype(np.uint16)
    mixed = pictures[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
