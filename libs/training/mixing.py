"""Mixup and CutMix, and the cross-entropy of mixed targets. Pure functions; all randomness from the generator."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from libs.training.objective import at_least_float32


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


Targets = Tensor | MixedTargets


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


def cross_entropy(
    logits: Tensor, targets: Targets, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy in at least float32, for class indices [B] or mixed targets.

    Args:
        logits: [B, K].
        class_weights: [K]; the mean is then weighted by the classes' weights.
    """
    if isinstance(targets, MixedTargets):
        first = cross_entropy(logits, targets.y_a, class_weights=class_weights, label_smoothing=label_smoothing)
        second = cross_entropy(logits, targets.y_b, class_weights=class_weights, label_smoothing=label_smoothing)
        return targets.lam * first + (1 - targets.lam) * second
    logits = at_least_float32(logits)
    return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """One draw of Beta(alpha, alpha); numpy draws it, seeded by the generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def _partners(labels: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(labels), generator=generator).to(labels.device)
