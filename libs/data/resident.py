"""Small splits held as one uint8 tensor on the device, so that an epoch reads no file and decodes nothing."""

from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from libs.data.images import ImageSplit
from libs.data.preprocess import fit
from libs.data.recipe import Recipe

RESIDENT_LIMIT_BYTES = 512 * 2**20

_Key = tuple[int, int, str, str, str]
_held: WeakKeyDictionary[ImageSplit, dict[_Key, Tensor]] = WeakKeyDictionary()


def resident_pictures(split: ImageSplit, recipe: Recipe, device: str, *, whole: bool) -> Tensor | None:
    """All pictures of a split, kept as long as the split is.

    Args:
        split: what to hold.
        recipe: pictures are fitted to its size.
        device: torch device to hold them on.
        whole: keep the pictures' own size instead, if they share one.

    Returns:
        uint8 [N, C, h, w], or None where they would take more than `RESIDENT_LIMIT_BYTES` or differ in size.
    """
    manifest = split.manifest
    if whole and not manifest.uniform_size:
        return None
    height, width = (manifest.height, manifest.width) if whole else (recipe.height, recipe.width)
    if len(split) * height * width * recipe.channels > RESIDENT_LIMIT_BYTES:
        return None
    key = (height, width, recipe.resize, recipe.interpolation, device)
    held = _held.setdefault(split, {})
    if key not in held:
        held[key] = _load(split, None if whole else recipe, height, width).to(device)
    return held[key]


def _load(split: ImageSplit, recipe: Recipe | None, height: int, width: int) -> Tensor:
    pictures = np.empty((len(split), split.manifest.channels, height, width), np.uint8)
    for position in range(len(split)):
        picture = split.picture(position)
        pictures[position] = np.moveaxis(picture if recipe is None else fit(recipe, picture), -1, 0)
    return torch.from_numpy(pictures)
