"""The losses of FRSKD (section 3 of the paper's method), in float32 whatever the features' precision.

phi(F)  = normalise_2( vec( mean_c F^2 ) )                      in R^{HW} per sample
L_F     = sum_i mean_{b,x} ( phi(F_i) - phi(T_i) )^2            T_i detached

L_KD, from the self-teacher's logits to the classifier's, is `libs.training.distillation.kd_loss`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.training.energy import channel_energy
from libs.training.objective import at_least_float32

BetaMode = Literal["paper", "sum"]
FeatureLoss = Literal["attention", "fit"]

NORM_EPSILON = 1e-12


def attention_map(feature: Tensor) -> Tensor:
    """phi: the unit-length map of mean channel energy, [B, C, H, W] → [B, HW]. An all-zero map stays zero."""
    energy = channel_energy(at_least_float32(feature)).flatten(1)
    return F.normalize(energy, dim=1, eps=NORM_EPSILON)


def attention_distance(student: Tensor, teacher: Tensor, mode: BetaMode = "paper") -> Tensor:
    """Squared distance of the attention maps per sample, [B].

    Args:
        student: F_i [B, C, H, W]; gets the gradient.
        teacher: T_i [B, D, H, W]; detached here.
        mode: `paper` averages over the HW positions, `sum` adds them up: the weight of the loss then does not
            depend on the resolution.
    """
    difference = attention_map(student) - attention_map(teacher.detach())
    squared = difference.square()
    return squared.mean(1) if mode == "paper" else squared.sum(1)


def fit_distance(fitted: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference per sample, [B]: a feature fitted to the teacher's width, and the teacher's."""
    difference = at_least_float32(fitted) - at_least_float32(teacher.detach())
    return difference.square().flatten(1).mean(1)


def feature_loss(students: Sequence[Tensor], teachers: Sequence[Tensor], mode: BetaMode = "paper") -> Tensor:
    """L_F with attention maps: the levels' mean distances, summed."""
    distances = [attention_distance(s, t, mode).mean() for s, t in zip(students, teachers, strict=True)]
    return torch.stack(distances).sum()


def automatic_beta(size: tuple[int, int], mode: BetaMode) -> float:
    """First guess of beta for pictures of `size` = (H, W).

    The published 100 belongs to 32x32: the mean over HW shrinks the distance as 1/HW, so beta grows with the
    area. The sum does not shrink; 0.4 is 100 over the 256 positions of the middle level of a 32x32 network.
    """
    height, width = size
    return 100.0 * height * width / 32**2 if mode == "paper" else 0.4
