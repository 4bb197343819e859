"""Fingerprints of pictures that survive another size or another compression."""

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HASHED_SIDE = 64
_SMALL_SIDE = 16
_LARGEST_DIFFERENCE = 0.06
_LEAST_CONTRAST = 4.0


def difference_hash(picture: Image.Image) -> int:
    """The 64 signs of differences between neighbours of a 9 x 8 grey thumbnail, as one unsigned number."""
    factor = max(1, min(picture.size) // (_HASHED_SIDE))
    bits = imagehash.dhash(picture.reduce(factor)).hash
    return int.from_bytes(np.packbits(bits).tobytes())


def nearly_equal(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> bool:
    """Whether two pictures uint8 [H, W, C] look the same at 16 x 16 grey.

    Their mean absolute difference must be at most 6 % of the left one's contrast (mean absolute deviation): copies
    that were resized or compressed again stay below in nine of ten cases, different handwritten ones hardly ever.
    Blank pictures are never said to be nearly equal.
    """
    first, second = _small_grey(left), _small_grey(right)
    contrast = float(np.abs(first - first.mean()).mean())
    return contrast >= _LEAST_CONTRAST and float(np.abs(first - second).mean()) <= _LARGEST_DIFFERENCE * contrast


def _small_grey(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).convert("L")
    return np.asarray(image.resize((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.BOX), dtype=np.float32)
