"""Batches for training and evaluation.

What a training batch holds depends on seed, epoch, batch number and rank only, never on loader processes, on
how pictures are stored, or on where a run was resumed. Evaluation goes through `libs.data.preprocess`, as
serving does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.data.augment import DRAWS, Augmentation, augmentation, resolve_policy
from libs.data.errors import DataError
from libs.data.images import ImageSplit
from libs.data.preprocess import normalise
from libs.data.recipe import Recipe
from libs.data.resident import resident_pictures
from libs.data.sampling import balanced_class_weights, endless_order, epoch_draws, epoch_order, stratified_sample
from libs.data.streaming import Item, fitted, stream_batches
from libs.training.config import ImageTrainingConfig

Batch = tuple[Tensor, Tensor]
"""Pictures float32 [B, C, H, W] and labels int64 [B]."""


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """How an epoch is cut into batches.

    Attributes:
        pictures: positions in the split that are trained on, int64.
        batch_size: pictures of a batch over all ranks.
        batches: full batches of an epoch; pictures left over wait for another epoch's shuffle.
    """

    pictures: NDArray[np.int64]
    batch_size: int
    batches: int


def plan_epoch(split: ImageSplit, config: ImageTrainingConfig, *, seed: int, world: int = 1) -> EpochPlan:
    """Choose the pictures a run trains on and how many batches an epoch has.

    A split smaller than `batch_size` makes one batch of all its pictures.

    Raises:
        DataError: pictures without labels, a larger sample than there are pictures, or fewer pictures than ranks;
            or a batch size that the ranks cannot share evenly.
    """
    if len(split) and split.labels.min() < 0:
        raise DataError(f"The split {split.name!r} has pictures without labels; training needs labels.")
    if config.batch_size % world:
        raise DataError(f"batch_size {config.batch_size} cannot be shared evenly by {world} processes.")
    pictures = np.arange(len(split))
    if config.train_pictures is not None:
        pictures = stratified_sample(split.labels, config.train_pictures, seed)
    batch_size = min(config.batch_size, len(pictures) // world * world)
    if batch_size == 0:
        raise DataError(f"{len(pictures)} training pictures are too few for {world} processes.")
    return EpochPlan(pictures, batch_size, len(pictures) // batch_size)


def training_batches(
    split: ImageSplit,
    recipe: Recipe,
    config: ImageTrainingConfig,
    *,
    seed: int,
    epoch: int,
    start_batch: int = 0,
    rank: int = 0,
    world: int = 1,
    device: str = "cpu",
) -> Iterator[Batch]:
    """The batches of one epoch, one per optimiser step, from `start_batch` on.

    Ranks take turns in the global batch, so together they see what a single process would. Splits of up to
    512 MB (uint8, at the recipe's size) are held on the device and augmented there; larger ones are read by
    `config.workers` loader processes.

    Args:
        split: labelled pictures.
        recipe: size and normalisation.
        config: `batch_size`, `augment`, `workers` and `train_pictures` are used.
        seed: of order, sample and augmentation.
        epoch: counts from 0.
        start_batch: batches of this epoch that are already done.
        rank: of this process.
        world: number of processes.
        device: where the tensors are to be.

    Yields:
        float32 [B, C, H, W] and int64 [B], B = batch_size / world; micro-batches are the caller's to cut.

    Raises:
        DataError: as `plan_epoch`.
        PictureError: a file is gone or has changed since validation.
    """
    plan = plan_epoch(split, config, seed=seed, world=world)
    order = plan.pictures[epoch_order(seed, epoch, len(plan.pictures))]
    draws = epoch_draws(seed, epoch, len(split), DRAWS)
    batches = [
        order[number * plan.batch_size : (number + 1) * plan.batch_size][rank::world]
        for number in range(start_batch, plan.batches)
    ]
    pictures = _augmented(split, recipe, config, batches, draws, device)
    for positions, chunk in zip(batches, pictures, strict=True):
        yield chunk, torch.from_numpy(split.labels[positions]).to(device)


def unlabelled_batches(
    split: ImageSplit,
    recipe: Recipe,
    config: ImageTrainingConfig,
    *,
    seed: int,
    epoch: int,
    batches: int,
    pictures: int,
    start_batch: int = 0,
    rank: int = 0,
    world: int = 1,
    device: str = "cpu",
) -> Iterator[Tensor]:
    """Batches of pictures without labels beside those of an epoch of `training_batches`; labels are not looked at.

    The split is gone through in permutation after permutation, however epochs are cut: every picture is seen equally
    often. A picture that comes twice in one epoch is augmented alike.

    Args:
        batches: of an epoch.
        pictures: of a batch over all ranks, a multiple of `world`.

    Yields:
        float32 [pictures / world, C, H, W], augmented and normalised as training pictures are.

    Raises:
        PictureError: a file is gone or has changed since validation.
    """
    starts = [(epoch * batches + number) * pictures for number in range(start_batch, batches)]
    chosen = [endless_order(seed, start, start + pictures, len(split))[rank::world] for start in starts]
    draws = epoch_draws(seed, epoch, len(split), DRAWS)
    yield from _augmented(split, recipe, config, chosen, draws, device)


def evaluation_batches(
    split: ImageSplit,
    recipe: Recipe,
    batch_size: int,
    device: str = "cpu",
    *,
    workers: int = 0,
) -> Iterator[Batch]:
    """All pictures in order, preprocessed exactly as in serving; the last batch may be smaller.

    Yields:
        float32 [B, C, H, W] and int64 [B]; the label is -1 where a picture has none.

    Raises:
        PictureError: a file is gone or has changed since validation.
    """
    every = np.arange(len(split))
    batches = [every[start : start + batch_size] for start in range(0, len(split), batch_size)]
    no_draws = np.zeros((len(split), DRAWS))
    pictures = _picture_batches(split, recipe, Augmentation(), batches, no_draws, workers, "cpu")
    for positions, chunk in zip(batches, pictures, strict=True):
        x = normalise(recipe, chunk.permute(0, 2, 3, 1).numpy())
        yield torch.from_numpy(x).to(device), torch.from_numpy(split.labels[positions]).to(device)


def class_weights(split: ImageSplit, config: ImageTrainingConfig) -> Tensor | None:
    """Cross-entropy weights float32 [K] for `class_weights: balanced`, else None."""
    if config.class_weights == "none":
        return None
    return torch.from_numpy(balanced_class_weights(split.labels, len(split.manifest.classes)))


def _augmented(
    split: ImageSplit,
    recipe: Recipe,
    config: ImageTrainingConfig,
    batches: list[NDArray[np.int64]],
    draws: NDArray[np.float64],
    device: str,
) -> Iterator[Tensor]:
    """Batches of positions as training pictures: float32 [B, C, H, W], augmented and normalised, on the device."""
    augment = augmentation(resolve_policy(config.augment, recipe), recipe)
    scale = _Normaliser(recipe, device)
    pictures = _picture_batches(split, recipe, augment, batches, draws, config.workers, device)
    for positions, chunk in zip(batches, pictures, strict=True):
        if augment.on_batch is not None:
            chunk = augment.on_batch(chunk, torch.from_numpy(draws[positions]).to(device))
        yield scale(chunk)


def _picture_batches(
    split: ImageSplit,
    recipe: Recipe,
    augment: Augmentation,
    batches: list[NDArray[np.int64]],
    draws: NDArray[np.float64],
    workers: int,
    device: str,
) -> Iterator[Tensor]:
    """uint8 [B, C, h, w] on the device for each batch of positions."""
    held = resident_pictures(split, recipe, device, whole=augment.resizes)
    if held is None:
        items = ([Item(int(position), draws[position]) for position in batch] for batch in batches)
        yield from stream_batches(split, recipe, augment, items, workers, device)
        return
    for batch in batches:
        chosen = held[torch.from_numpy(batch).to(held.device)]
        if augment.on_picture is not None:
            changed = [fitted(augment, p, draws[i]) for p, i in zip(chosen.cpu(), batch, strict=True)]
            chosen = torch.stack(changed).to(device)
        yield chosen


class _Normaliser:
    """uint8 [B, C, H, W] → float32, scaled and normalised on the pictures' device."""

    def __init__(self, recipe: Recipe, device: str) -> None:
        self.mean = torch.tensor(recipe.mean, device=device).view(1, -1, 1, 1)
        self.std = torch.tensor(recipe.std, device=device).view(1, -1, 1, 1)

    def __call__(self, pictures: Tensor) -> Tensor:
        return pictures.float().div_(255).sub_(self.mean).div_(self.std)
