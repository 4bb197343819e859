"""A look at what training sees."""

import numpy as np
import torch
from numpy.typing import NDArray

from libs.data.augment import DRAWS, augmentation, resolve_policy
from libs.data.images import ImageSplit
from libs.data.recipe import Recipe
from libs.data.sampling import epoch_draws
from libs.data.streaming import Item, PictureDataset
from libs.training.config import ImageTrainingConfig

_PICTURES = 16


def augmentation_preview(
    split: ImageSplit, recipe: Recipe, config: ImageTrainingConfig, *, seed: int
) -> list[tuple[NDArray[np.uint8], int]]:
    """16 pictures as an epoch would show them, spread evenly over the split; fewer pictures come several times.

    Args:
        split: where pictures are taken from.
        recipe: gives the size.
        config: `augment` is used.
        seed: of the augmentation.

    Returns:
        Pictures uint8 [H, W, 1 or 3] with their labels.
    """
    augment = augmentation(resolve_policy(config.augment, recipe), recipe)
    positions = np.linspace(0, len(split), _PICTURES, endpoint=False).astype(np.int64)
    draws = epoch_draws(seed, 0, _PICTURES, DRAWS)
    dataset = PictureDataset(split, recipe, augment)
    batch = torch.stack([dataset[Item(int(p), row)] for p, row in zip(positions, draws, strict=True)])
    if augment.on_batch is not None:
        batch = augment.on_batch(batch, torch.from_numpy(draws))
    labels = split.labels[positions].tolist()
    return list(zip(batch.permute(0, 2, 3, 1).numpy(), labels, strict=True))
