"""Mixup and CutMix as pure functions; all randomness comes from the generator."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class MixedTargets:
    """Classes of two mixed batches: the loss is lam * CE(y_a) + (1 - lam) * CE(y_b).

    Attributes:
        y_a: class indices [B] of the pictures.
        y_b: class indices [B] of the pictures mixed in.
        lam: share of the first, 0 to 1.
    """

    y_a: Tensor
    y_b: Tensor
    lam: float

    def distributions(self, num_classes: int) -> Tensor:
        """The same targets as label distributions [B, K]: cross-entropy is linear in them."""
        first, second = (F.one_hot(y, num_classes).float() for y in (self.y_a, self.y_b))
        return torch.lerp(second, first, self.lam)


def mixup(images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, MixedTargets]:
    """Blend every picture with another one of the batch (Zhang et al. 2018): lam x_a + (1 - lam) x_b.

    Args:
        images: [B, C, H, W].
        labels: class indices [B].
        alpha: lam ~ Beta(alpha, alpha), one draw a batch.
        generator: a CPU generator.
    """
    lam = _beta(alpha, generator)
    partner = _partners(labels, generator)
    mixed = torch.lerp(images[partner], images, lam)
    return mixed, MixedTargets(labels, labels[partner], lam)


def cutmix(images: Tensor, labels: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, MixedTargets]:
    """Paste a box of another picture of the batch (Yun et al. 2019); arguments as for `mixup`.

    The box covers 1 - lam of the picture, its centre is uniform, and it is cut off at the border: the lam returned is
    the share really left.
    """
    height, width = images.shape[-2:]
    top, bottom, left, right = cut_box(height, width, _beta(alpha, generator), generator)
    partner = _partners(labels, generator)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partner][..., top:bottom, left:right]
    lam = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, MixedTargets(labels, labels[partner], lam)


def cut_box(height: int, width: int, lam: float, generator: torch.Generator) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a box of (1 - lam) of the area around a uniform centre, cut off at the border."""
    scale = math.sqrt(1 - lam)
    box_height, box_width = int(height * scale), int(width * scale)
    centre_y = int(torch.randint(height, (), generator=generator))
    centre_x = int(torch.randint(width, (), generator=generator))
    top, left = centre_y - box_height // 2, centre_x - box_width // 2
    return max(top, 0), min(top + box_height, height), max(left, 0), min(left + box_width, width)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(alpha, alpha); numpy draws it, seeded by the generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def _partners(labels: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(labels), generator=generator).to(labels.device)
