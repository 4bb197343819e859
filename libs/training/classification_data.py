"""The data a classifier trains on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.data.errors import DataError
from libs.data.images import ImageData, ImageSplit, open_images
from libs.data.manifest import Split
from libs.data.preprocess import default_recipe
from libs.data.recipe import Recipe
from libs.training.config import ImageTrainingConfig

_COLOURS = {1: "grey", 3: "coloured"}


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Pictures without labels that a training sees beside its own.

    Attributes:
        ratio: how many of them are in a batch for each labelled picture.
    """

    split: ImageSplit
    ratio: float

    def beside(self, labelled: int, parts: int) -> int:
        """How many go with `labelled` pictures that `micro_batches` cuts into `parts`: about ratio times as many.

        Each part has as many of them for a labelled picture as the others, the last within one picture, and at least
        one: losses over both kinds are weighted by the labelled ones.
        """
        size = -(-labelled // parts)
        each = max(1, round(self.ratio * size))
        return -(-each * labelled // size)


@dataclass(frozen=True, slots=True)
class ClassificationData:
    """The splits of one data set and how their pictures are prepared; `val` and `test` may be missing."""

    recipe: Recipe
    train: ImageSplit
    val: ImageSplit | None
    test: ImageSplit | None
    unlabelled: Unlabelled | None = None

    @property
    def classes(self) -> list[str]:
        """Label names."""
        return self.train.manifest.classes

    @property
    def example(self) -> Tensor:
        """A blank picture of the size that is trained on, [1, C, H, W]."""
        return torch.zeros(1, self.recipe.channels, self.recipe.height, self.recipe.width)

    @property
    def digest(self) -> str:
        """Digest of the data set."""
        return self.train.manifest.digest

    def with_unlabelled(self, folder: Path, ratio: float) -> "ClassificationData":
        """This data, and the training split of another data set beside it, whose labels, if any, are left aside.

        Raises:
            DataError: its pictures are grey where these have colours, or the other way round.
        """
        split = open_images(folder).split("train")
        if split.manifest.channels != self.recipe.channels:
            found, wanted = (_COLOURS[channels] for channels in (split.manifest.channels, self.recipe.channels))
            raise DataError(f"The unlabelled pictures are {found}, those with labels {wanted}.")
        return replace(self, unlabelled=Unlabelled(split, ratio))

    def held_out_among_unlabelled(self) -> dict[str, int]:
        """How many pictures of `val` and `test` are also among the unlabelled ones, where some are.

        Told by the digests of files or arrays: a picture that was saved anew is another one.
        """
        if self.unlabelled is None:
            return {}
        trained_on = _digests(self.unlabelled.split)
        counts = {s.name: int(np.isin(_digests(s), trained_on).sum()) for s in (self.val, self.test) if s is not None}
        return {name: count for name, count in counts.items() if count}


def open_classification_data(folder: Path, config: ImageTrainingConfig) -> ClassificationData:
    """Open a validated data set for training.

    Raises:
        DataError: it has fewer than two classes, or no training pictures.
    """
    data = open_images(folder)
    classes = data.manifest.classes
    if len(classes) < 2:
        raise DataError(f"A classifier needs at least 2 classes, the data set has {len(classes)}.")
    recipe = default_recipe(data.manifest, config.image_size)
    return ClassificationData(recipe, data.split("train"), _labelled(data, "val"), _labelled(data, "test"))


def _digests(split: ImageSplit) -> NDArray[np.bytes_]:
    """SHA-256 of every picture, `S32` [N]."""
    rows = np.ascontiguousarray(split.data.index.sha256[split.ids])
    return rows.view("S32")[:, 0]


def _labelled(data: ImageData, name: Split) -> ImageSplit | None:
    """A split that can be measured, or None."""
    if name not in data.manifest.splits:
        return None
    split = data.split(name)
    return split if split.labels.min() >= 0 else None
