"""Pictures of a data set, in batches, preprocessed as the model server does it; broken ones are set aside."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from libs.data.errors import PictureError
from libs.data.images import ImageSplit
from libs.data.images.decode import to_array
from libs.data.preprocess import apply
from libs.data.recipe import Recipe
from libs.serving.session import ModelSession


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pictures of a split.

    Attributes:
        start: position in the split of the first picture looked at.
        looked_at: how many were.
        positions: int64 [n], of those that could be read.
        rows: float32 [n, C, H, W].
        errors: position → why it could not be read, or answered for.
    """

    start: int
    looked_at: int
    positions: NDArray[np.int64]
    rows: NDArray[np.float32]
    errors: dict[int, str]


def batches(split: ImageSplit, recipe: Recipe, batch_size: int) -> Iterator[Batch]:
    """Every picture of `split`, in order; the next batch is read while the caller computes this one."""
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        pending = _read(pool, split, recipe, 0, batch_size)
        for start in range(0, len(split), batch_size):
            current = pending
            pending = _read(pool, split, recipe, start + batch_size, batch_size)
            yield _collect(start, current, recipe)


def answer(batch: Batch, session: ModelSession) -> tuple[Batch, NDArray[np.float32]]:
    """Logits [n, K] of a batch's pictures; those whose logits are not finite are set aside, as broken ones are."""
    if not len(batch.positions):
        return batch, np.empty((0, 0), np.float32)
    logits: NDArray[np.float32] = session.run(batch.rows)
    sound = np.isfinite(logits).all(axis=1)
    if sound.all():
        return batch, logits
    errors = {
        int(position): "the model's output for this picture is not finite" for position in batch.positions[~sound]
    }
    kept = replace(batch, positions=batch.positions[sound], rows=batch.rows[sound], errors=batch.errors | errors)
    return kept, logits[sound]


def readable_picture(split: ImageSplit, position: int, channels: int) -> NDArray[np.uint8]:
    """One picture, uint8 [H, W, C] with the channels a recipe wants.

    Raises:
        PictureError: it cannot be read.
    """
    pixels = split.picture(position)
    if pixels.shape[2] == channels:
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return to_array(image, 1 if channels == 1 else 3)


Read = Future[NDArray[np.float32] | PictureError]


def _read(pool: ThreadPoolExecutor, split: ImageSplit, recipe: Recipe, start: int, count: int) -> list[Read]:
    end = min(start + count, len(split))
    return [pool.submit(_row, split, recipe, position) for position in range(start, end)]


def _row(split: ImageSplit, recipe: Recipe, position: int) -> NDArray[np.float32] | PictureError:
    try:
        return apply(recipe, readable_picture(split, position, recipe.channels))
    except PictureError as error:
        return error


def _collect(start: int, read: list[Read], recipe: Recipe) -> Batch:
    positions: list[int] = []
    rows: list[NDArray[np.float32]] = []
    errors: dict[int, str] = {}
    for position, future in enumerate(read, start):
        result = future.result()
        if isinstance(result, PictureError):
            errors[position] = str(result)
        else:
            positions.append(position)
            rows.append(result)
    empty = np.empty((0, recipe.channels, recipe.height, recipe.width), np.float32)
    return Batch(start, len(read), np.array(positions, np.int64), np.stack(rows) if rows else empty, errors)
