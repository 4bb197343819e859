"""Random changes of training pictures. What happens to a picture is a function of its row of draws alone.

Two kinds, so that small pictures are fast and large ones are right:

- `crop` and `flip-crop` of small pictures work on a whole uint8 batch at once, on any device: zero padding by an
  eighth of the side and a random crop back, as in He et al., 2016, section 4.2 (4 px at 32).
- Everything else runs torchvision's v2 transforms on one picture, seeded by that picture's draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.data.recipe import Recipe

Policy = Literal["none", "flip-crop", "crop", "strong"]
DRAWS = 4
"""Uniform numbers a picture gets per epoch: crop row, crop column, flip, seed of the v2 transforms."""

_SMALL_SIDE = 64  # px; larger pictures get a random resized crop
_GREY_CROP_SIDE = 32
_CROP_AREA = (0.35, 1.0)


def resolve_policy(augment: str, recipe: Recipe) -> Policy:
    """What `auto` means for a recipe: crop for grey pictures up to 32 px (digits, letters), else flip-crop."""
    if augment != "auto":
        return augment  # type: ignore[return-value]
    small_grey = recipe.channels == 1 and max(recipe.height, recipe.width) <= _GREY_CROP_SIDE
    return "crop" if small_grey else "flip-crop"


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A policy for pictures of one recipe.

    Attributes:
        on_batch: uint8 [B, C, h, w] and draws float64 [B, DRAWS] → uint8 [B, C, h, w], any device.
        on_picture: uint8 [C, H, W] and draws float64 [DRAWS] → uint8 [C, h, w], runs before `on_batch`.
        resizes: `on_picture` takes whole pictures of any size; else they are fitted to the recipe first.
    """

    on_batch: Callable[[Tensor, Tensor], Tensor] | None = None
    on_picture: Callable[[Tensor, Tensor], Tensor] | None = None
    resizes: bool = False


def augmentation(policy: Policy, recipe: Recipe) -> Augmentation:
    """Build the policy for a recipe."""
    if policy == "none":
        return Augmentation()
    small = max(recipe.height, recipe.width) <= _SMALL_SIDE
    if policy == "strong" or not small:
        return Augmentation(on_picture=SeededTransforms(_transforms(policy, recipe, small)), resizes=not small)
    return Augmentation(on_batch=random_crop if policy == "crop" else _crop_and_flip)


def _crop_and_flip(pictures: Tensor, draws: Tensor) -> Tensor:
    return random_flip(random_crop(pictures, draws), draws)


def random_crop(pictures: Tensor, draws: Tensor) -> Tensor:
    """Zero-pad by an eighth of the longer side and crop back at offsets from draws 0 and 1.

    Args:
        pictures: uint8 [B, C, H, W].
        draws: float64 [B, DRAWS] in [0, 1).
    """
    height, width = pictures.shape[2:]
    pad = padding(height, width)
    padded = F.pad(pictures, (pad, pad, pad, pad))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2 pad + 1, 2 pad + 1, H, W], a view
    offsets = (draws[:, :2] * (2 * pad + 1)).long()
    return windows[torch.arange(len(pictures), device=pictures.device), :, offsets[:, 0], offsets[:, 1]]


def padding(height: int, width: int) -> int:
    """How far `random_crop` moves a picture at most, in px."""
    return max(1, max(height, width) // 8)


def random_flip(pictures: Tensor, draws: Tensor) -> Tensor:
    """Mirror left to right where draw 2 is below one half: [B, C, H, W] → the same shape."""
    flipped = (draws[:, 2] < 0.5).view(-1, 1, 1, 1)
    return torch.where(flipped, pictures.flip(-1), pictures)


class SeededTransforms:
    """torchvision v2 transforms whose randomness comes from a picture's draws, not from global state."""

    def __init__(self, transforms: Callable[[Tensor], Tensor]) -> None:
        self.transforms = transforms

    def __call__(self, picture: Tensor, draws: Tensor) -> Tensor:
        """uint8 [C, H, W] → uint8 [C, h, w]."""
        global_state = torch.random.get_rng_state()  # torch.random.fork_rng does the same, a hundred times slower
        try:
            torch.default_generator.manual_seed(int(draws[3] * 2**53))
            changed: Tensor = self.transforms(picture)
        finally:
            torch.random.set_rng_state(global_state)
        return changed


def _transforms(policy: Policy, recipe: Recipe, small: bool) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2  # takes as long to import as torch; most small pictures need none of it

    size = (recipe.height, recipe.width)
    crop = (
        v2.RandomCrop(size, padding=padding(*size))
        if small
        else v2.RandomResizedCrop(size, scale=_CROP_AREA, antialias=True)
    )
    flip: list[v2.Transform] = [] if policy == "crop" else [v2.RandomHorizontalFlip()]
    strong: list[v2.Transform] = [v2.TrivialAugmentWide()] if policy == "strong" else []
    composed: Callable[[Tensor], Tensor] = v2.Compose([crop, *flip, *strong])
    return composed
