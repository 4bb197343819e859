"""A look at what training will see."""

import numpy as np
import torch

from libs.data.augment import DRAWS, augmentation, resolve_policy
from libs.data.contact_sheet import picture_grid
from libs.data.images import ImageSplit
from libs.data.recipe import Recipe
from libs.data.sampling import epoch_draws
from libs.data.streaming import Item, PictureDataset
from libs.training.config import ImageTrainingConfig

_PICTURES, _COLUMNS = 16, 4


def augmentation_preview(split: ImageSplit, recipe: Recipe, config: ImageTrainingConfig, *, seed: int = 0) -> bytes:
    """16 pictures as an epoch would show them, spread evenly over the split; fewer pictures come several times.

    Args:
        split: where pictures are taken from.
        recipe: gives the size.
        config: `augment` is used.
        seed: of the augmentation.

    Returns:
        A PNG file with 4 x 4 pictures.
    """
    augment = augmentation(resolve_policy(config.augment, recipe), recipe)
    positions = np.linspace(0, len(split), _PICTURES, endpoint=False).astype(np.int64)
    draws = epoch_draws(seed, 0, _PICTURES, DRAWS)
    dataset = PictureDataset(split, recipe, augment)
    batch = torch.stack([dataset[Item(int(p), row)] for p, row in zip(positions, draws, strict=True)])
    if augment.on_batch is not None:
        batch = augment.on_batch(batch, torch.from_numpy(draws))
    return picture_grid(list(batch.permute(0, 2, 3, 1).numpy()), _COLUMNS)
