"""Many small pictures on one, for people to look at."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE_SIDE = 64
_GAP = 4
_CAPTION_WIDTH = 160
_LONGEST_CAPTION = 22


def contact_sheet(rows: Mapping[str, Sequence[NDArray[np.uint8]]]) -> bytes:
    """Rows of pictures with captions at the left.

    Args:
        rows: caption → pictures uint8 [H, W, 1 or 3] of any sizes.

    Returns:
        A PNG file.
    """
    columns = max((len(pictures) for pictures in rows.values()), default=0)
    step = TILE_SIDE + _GAP
    sheet = Image.new("RGB", (_CAPTION_WIDTH + columns * step + _GAP, max(1, len(rows)) * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)
    for row, (caption, pictures) in enumerate(rows.items()):
        top = _GAP + row * step
        draw.text((_GAP, top + TILE_SIDE // 2 - 8), _shortened(caption), fill="black", font=font)
        for column, picture in enumerate(pictures):
            sheet.paste(_tile(picture), (_CAPTION_WIDTH + _GAP + column * step, top))
    return _png(sheet)


def picture_grid(pictures: Sequence[NDArray[np.uint8]], columns: int) -> bytes:
    """Pictures uint8 [H, W, 1 or 3] side by side without captions; a PNG file."""
    step = TILE_SIDE + _GAP
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * step + _GAP, rows * step + _GAP), "white")
    for position, picture in enumerate(pictures):
        row, column = divmod(position, columns)
        grid.paste(_tile(picture), (_GAP + column * step, _GAP + row * step))
    return _png(grid)


def _tile(picture: NDArray[np.uint8]) -> Image.Image:
    """Fitted into a square; small pictures are enlarged without smoothing, so their pixels can be seen."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).convert("RGB")
    scale = TILE_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resized = image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (TILE_SIDE, TILE_SIDE), "lightgrey")
    tile.paste(resized, ((TILE_SIDE - size[0]) // 2, (TILE_SIDE - size[1]) // 2))
    return tile


def _shortened(caption: str) -> str:
    return caption if len(caption) <= _LONGEST_CAPTION else caption[: _LONGEST_CAPTION - 1] + "…"


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
