"""From picture bytes to pixels, the one place where pictures are decoded.

Alpha is composited on white, 16 bits become 8 by dropping the low byte, palettes and CMYK become RGB,
EXIF orientation is applied, of several frames the first is taken.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from libs.data.errors import PictureError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"})
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})
_UNSCALED_MODES = frozenset({"I", "F"})


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture and what was noticed on the way.

    Attributes:
        picture: upright, mode L or RGB.
        mode: Pillow's mode of the file, such as `CMYK` or `I;16`.
        notes: what is odd about it, in words.
    """

    picture: Image.Image
    mode: str
    notes: tuple[str, ...]

    @property
    def grey(self) -> bool:
        """Whether the file itself has no colour."""
        return self.mode in _GREY_MODES


def decode(content: bytes, *, max_pixels: int, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Decode one picture.

    Args:
        content: a PNG, JPEG, BMP, GIF, TIFF or WebP file.
        max_pixels: a picture with more is refused before it is decoded.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 [H, W, C].

    Raises:
        PictureError: too large, of another format, truncated or broken.
    """
    return to_array(open_picture(content, max_pixels=max_pixels).picture, channels)


def to_array(picture: Image.Image, channels: Literal[1, 3]) -> NDArray[np.uint8]:
    """Pixels of an upright L or RGB picture, uint8 [H, W, C]."""
    wanted = picture.convert("L" if channels == 1 else "RGB")
    return np.asarray(wanted, dtype=np.uint8).reshape(wanted.height, wanted.width, channels)


def open_picture(content: bytes, *, max_pixels: int) -> Decoded:
    """Decode one picture, keep its colour or greyness, and note what is odd about it.

    Raises:
        PictureError: too large, of another format, truncated or broken.
    """
    if not content:
        raise PictureError("the file is empty")
    try:
        return _open(content, max_pixels)
    except PictureError:
        raise
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise PictureError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def _open(content: bytes, max_pixels: int) -> Decoded:
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise PictureError(f"not a picture of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"refused before decoding: {error}") from None
    if picture.width * picture.height > max_pixels:
        raise PictureError(
            f"{picture.width} x {picture.height} px is {picture.width * picture.height:,} pixels, "
            f"more than the limit of {max_pixels:,}; it was not decoded"
        )
    mode = picture.mode
    frames = ("of several frames only the first is used",) if getattr(picture, "is_animated", False) else ()
    picture.load()
    upright, notes = _upright(picture)
    return Decoded(_plain(upright), mode, frames + notes)


def _upright(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        return ImageOps.exif_transpose(picture), ()
    except Exception as error:  # a broken EXIF block does not make the pixels worthless
        return picture, (f"the EXIF block cannot be read ({type(error).__name__}); orientation ignored",)


def _plain(picture: Image.Image) -> Image.Image:
    """L or RGB of the same pixels."""
    if picture.mode in _UNSCALED_MODES:
        raise PictureError(
            f"pixels of mode {picture.mode} (32 bits) have no agreed range; save the picture with 8 or 16 bits"
        )
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture.convert("L" if picture.mode in _GREY_MODES else "RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    flat = Image.alpha_composite(white, layered)
    return flat.convert("L" if picture.mode in _GREY_MODES else "RGB")
