"""Preprocessing for evaluation and serving: one function runs a recipe in both. No torch.

A picture is fitted to the recipe's size as uint8 (`fit`) and then scaled and normalised (`normalise`);
training fits with the same function, so it sees the pixels that serving sees.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from libs.data.errors import PictureError
from libs.data.images.decode import decode
from libs.data.manifest import ImagesManifest
from libs.data.recipe import Recipe

__all__ = ["apply", "apply_batch", "decode", "default_recipe", "fit", "normalise"]

_LEAST_STD = 1e-4  # a channel with less is constant; it is centred, not blown up
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def default_recipe(manifest: ImagesManifest, image_size: int = 0) -> Recipe:
    """The recipe of a data set.

    Args:
        manifest: gives channels, mean, std and size.
        image_size: side in px of a square picture; 0 keeps the data set's own size.
    """
    return Recipe(
        channels=manifest.channels,
        height=image_size or manifest.height,
        width=image_size or manifest.width,
        mean=manifest.mean,
        std=[std if std >= _LEAST_STD else 1.0 for std in manifest.std],
    )


def apply(recipe: Recipe, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Fit and normalise one decoded picture: uint8 [H, W, C] → float32 [C, h, w].

    Raises:
        PictureError: channels differ, or the size does where the recipe resizes nothing.
    """
    return normalise(recipe, fit(recipe, picture))


def apply_batch(recipe: Recipe, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Fit and normalise pictures of any sizes: N x uint8 [H, W, C] → float32 [N, C, h, w].

    Raises:
        PictureError: as `apply`.
    """
    return normalise(recipe, np.stack([fit(recipe, picture) for picture in pictures]))


def fit(recipe: Recipe, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize (and for `cover` crop the centre) to the recipe's size: uint8 [H, W, C] → uint8 [h, w, C].

    Raises:
        PictureError: channels differ, or the size does where the recipe resizes nothing.
    """
    if picture.ndim != 3 or picture.shape[2] != recipe.channels:
        raise PictureError(f"the recipe wants [H, W, {recipe.channels}], got an array of shape {picture.shape}")
    if picture.shape[:2] == (recipe.height, recipe.width):
        return picture
    if recipe.resize == "none":
        raise PictureError(
            f"the picture is {picture.shape[1]} x {picture.shape[0]} px, must be {recipe.width} x {recipe.height}"
        )
    image = Image.fromarray(picture[:, :, 0] if recipe.channels == 1 else picture)
    box = _centre(recipe, *image.size) if recipe.resize == "cover" else None
    resized = image.resize((recipe.width, recipe.height), _RESAMPLING[recipe.interpolation], box)
    return np.asarray(resized).reshape(recipe.height, recipe.width, recipe.channels)


def normalise(recipe: Recipe, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale to [0, 1], subtract the mean, divide by the deviation: uint8 [..., H, W, C] → float32 [..., C, H, W]."""
    mean = np.asarray(recipe.mean, np.float32)
    std = np.asarray(recipe.std, np.float32)
    scaled = (pictures.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def _centre(recipe: Recipe, width: int, height: int) -> tuple[float, float, float, float]:
    """The largest centred box with the recipe's aspect ratio, in px: left, top, right, bottom."""
    # One side of the box is the picture's own, exactly: too long by one rounding, it would begin left of the picture.
    box_width = min(width, height * recipe.width / recipe.height)
    box_height = min(height, width * recipe.height / recipe.width)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, min(left + box_width, width), min(top + box_height, height)
