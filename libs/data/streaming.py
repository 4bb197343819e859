"""Pictures read, decoded and augmented batch by batch, in this process or in loader processes."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from libs.data.augment import Augmentation
from libs.data.images import ImageSplit
from libs.data.preprocess import fit
from libs.data.processes import exit_with_parent, forkserver
from libs.data.recipe import Recipe

_PREFETCHED_BATCHES = 4


class Item(NamedTuple):
    """One picture to load: its position in the split and its draws, float64 [DRAWS]."""

    position: int
    draws: NDArray[np.float64]


class PictureDataset(Dataset[Tensor]):
    """Loads an `Item` as uint8 [C, h, w]. Holds no randomness, so any process loads the same."""

    def __init__(self, split: ImageSplit, recipe: Recipe, augment: Augmentation) -> None:
        self.split = split
        self.recipe = recipe
        self.augment = augment

    def __getitem__(self, item: Item) -> Tensor:
        picture = self.split.picture(item.position)
        if not self.augment.resizes:
            picture = fit(self.recipe, picture)
        return fitted(self.augment, _channels_first(picture), item.draws)


def fitted(augment: Augmentation, picture: Tensor, draws: NDArray[np.float64]) -> Tensor:
    """A picture after the per-picture part of an augmentation: uint8 [C, H, W] → uint8 [C, h, w]."""
    return picture if augment.on_picture is None else augment.on_picture(picture, torch.from_numpy(draws))


def stream_batches(
    split: ImageSplit,
    recipe: Recipe,
    augment: Augmentation,
    items: Iterable[list[Item]],
    workers: int,
    device: str,
) -> Iterator[Tensor]:
    """Load batches of items in order, `workers` processes ahead of the caller.

    Yields:
        uint8 [B, C, h, w] on the device.
    """
    cuda = torch.device(device).type == "cuda"
    loader = DataLoader(
        PictureDataset(split, recipe, augment),
        batch_sampler=items,
        num_workers=workers,
        collate_fn=torch.stack,
        pin_memory=cuda,
        prefetch_factor=_PREFETCHED_BATCHES if workers else None,
        multiprocessing_context=forkserver() if workers else None,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # else each epoch draws from the global stream, and a resumed run differs
    )
    for pictures in loader:
        yield pictures.to(device, non_blocking=cuda)


def _begin_worker(number: int) -> None:
    exit_with_parent()


def _channels_first(picture: NDArray[np.uint8]) -> Tensor:
    """[H, W, C] → [C, H, W] as a view of a copy: decoded and mapped pictures are read-only, and torchvision resizes
    channels-last memory faster."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
