"""Small pictures inside a page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST_SIDE = 160
HEAT = np.array([[13, 8, 60], [108, 22, 130], [207, 68, 92], [250, 158, 59], [252, 253, 191]], np.float64)
"""Anchors of a dark-to-bright colour scale, RGB."""


def picture_uri(picture: NDArray[np.uint8]) -> str:
    """A `data:` URI of a picture uint8 [H, W, 1 or 3]; a larger one is reduced to 160 px."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def heat_uri(values: NDArray[np.float32]) -> str:
    """A `data:` URI of a map [H, W], its smallest value dark and its largest bright."""
    low, high = float(values.min()), float(values.max())
    position = (values - low) / max(high - low, 1e-12) * (len(HEAT) - 1)
    below = np.clip(np.floor(position).astype(int), 0, len(HEAT) - 2)
    mixed = HEAT[below] + (HEAT[below + 1] - HEAT[below]) * (position - below)[..., None]
    return picture_uri(mixed.round().astype(np.uint8))
