"""How related two items are, as positive semi-definite kernels: by company, by character, by the user's view of them.

Each gives a Gram matrix [..., n, n] over the items of a sequence, or its factor. A factor's rows have norm at most 1.
The network uses the cosine alone, which has an exact factor; RBF and Matern are here to compare with.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from libs.models.rksa.attention import safe_sqrt

_SQRT_5 = math.sqrt(5)


def cooccurrence_cosine(together: Tensor, counts: Tensor) -> Tensor:
    """N_ij / sqrt(c_i c_j), Gram matrix of the scaled user-item matrix.

    Args:
        together: N [..., n, n], users who have both items.
        counts: c [..., n], users who have the item; the correlation of an item without any is 0 but to itself.
    """
    inverse = torch.where(counts > 0, counts.clamp_min(1).rsqrt(), 0.0)
    kernel = together * inverse.unsqueeze(-1) * inverse.unsqueeze(-2)
    return kernel.diagonal_scatter(torch.ones_like(counts, dtype=kernel.dtype), dim1=-2, dim2=-1)


def unit_rows(features: Tensor) -> Tensor:
    """Features [..., n, r] with rows of norm 1: the factor of the cosine kernel. A zero row stays zero."""
    return F.normalize(features, dim=-1)


def cosine(features: Tensor) -> Tensor:
    """Cosine kernel of features [..., n, r]."""
    rows = unit_rows(features)
    return rows @ rows.transpose(-1, -2)


def rbf(features: Tensor, length: float | Tensor) -> Tensor:
    """exp(-|a - b|^2 / (2 l^2)) between rows of features [..., n, r], with length l in their unit; [..., n, n]."""
    return torch.exp(-squared_distances(features) / (2 * length**2))


def matern52(features: Tensor, length: float | Tensor) -> Tensor:
    """(1 + s + s^2 / 3) exp(-s), s = sqrt(5) |a - b| / l; arguments and result as of `rbf`."""
    squared = squared_distances(features)
    apart = squared > 0
    distance = torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)
    s = _SQRT_5 * distance / length
    return (1 + s + s.square() / 3) * torch.exp(-s)


def squared_distances(features: Tensor) -> Tensor:
    """|a - b|^2 between rows of [..., n, r]; exactly 0 on the diagonal."""
    return (features.unsqueeze(-2) - features.unsqueeze(-3)).square().sum(-1)


def mixed_factor(mixture: Tensor, blocks: list[Tensor]) -> Tensor:
    """F = [sqrt(r_1) F_1, sqrt(r_2) F_2, ...]: factor of the mixture of kernels.

    Args:
        mixture: r [..., m], non-negative, summing to 1.
        blocks: m factors [..., n, R_m] with rows of norm at most 1.
    """
    weights = safe_sqrt(mixture).unsqueeze(-2)  # a softmax that is sure of itself gives a weight of exactly 0
    return torch.cat([weights[..., m : m + 1] * block for m, block in enumerate(blocks)], -1)
