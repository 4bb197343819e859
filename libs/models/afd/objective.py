"""The distances of AFD: attention maps of features, and how far every student map is from every teacher map.

m(h)    = mean_c h^2                                             in R^{HxW} per sample
v(h)    = m(h) / ||m(h)||_2                                      a zero map stays zero
v_{s,t} = v( pool( m(h^S_s) -> H_t x W_t ) )                     pooled before it is normalised
D[t,s]  = 1/(H_t W_t) || v_{s,t} - v(h^T_t) ||_2^2
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

BetaMode = Literal["paper", "sum"]
NORM_EPSILON = 1e-12


def map_distances(students: Sequence[Tensor], teachers: Sequence[Tensor], mode: BetaMode = "paper") -> Tensor:
    """D of all pairs of energy maps per sample, [B, T, S], at least 0.

    Teacher maps of one size share one matrix product: ||a - b||^2 = ||a||^2 + ||b||^2 - 2ab, with the norms of zero
    maps 0. Nothing of the size of a pair of maps is kept.

    Args:
        students: m(h^S_s), each [B, H_s, W_s], in at least float32.
        teachers: m(h^T_t), each [B, H_t, W_t].
        mode: `paper` divides by H_t W_t, `sum` does not: the weight of the loss then does not depend on the size.
    """
    rows: dict[int, Tensor] = {}
    for size, members in _by_size(teachers).items():
        teacher = _unit(torch.stack([teachers[t] for t in members], 1))  # [B, G, HW]
        student = _unit(_resized(students, size))  # [B, S, HW]
        inner = torch.bmm(teacher, student.transpose(1, 2))
        squares = teacher.square().sum(2).unsqueeze(2) + student.square().sum(2).unsqueeze(1)
        distances = (squares - 2 * inner).clamp_min(0)
        if mode == "paper":
            distances = distances / (size[0] * size[1])
        rows |= dict(zip(members, distances.unbind(1), strict=True))
    return torch.stack([rows[t] for t in range(len(teachers))], 1)


def _by_size(maps: Sequence[Tensor]) -> dict[tuple[int, int], list[int]]:
    """Positions of maps [B, H, W] by (H, W)."""
    groups: dict[tuple[int, int], list[int]] = {}
    for position, one in enumerate(maps):
        groups.setdefault((one.shape[1], one.shape[2]), []).append(position)
    return groups


def _resized(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Maps [B, H_s, W_s] at one size by adaptive average pooling, which enlarges too: [B, S, H, W].

    As matrix products along either axis: torch's own operation has no repeatable gradient on a GPU.
    """
    resized: dict[int, Tensor] = {}
    for own, members in _by_size(maps).items():
        stacked = torch.stack([maps[s] for s in members], 1)
        if own != size:
            down, across = (_windows(*sides, stacked) for sides in zip(own, size, strict=True))
            stacked = down @ stacked @ across.T
        resized |= dict(zip(members, stacked.unbind(1), strict=True))
    return torch.stack([resized[s] for s in range(len(maps))], 1)


def _windows(source: int, target: int, like: Tensor) -> Tensor:
    """Adaptive average pooling along one axis, [target, source]: window i is [floor(i s/t), ceil((i + 1) s/t))."""
    row = torch.arange(target, device=like.device).unsqueeze(1)
    first, past = row * source // target, ((row + 1) * source + target - 1) // target
    place = torch.arange(source, device=like.device)
    return ((place >= first) & (place < past)).to(like.dtype) / (past - first).to(like.dtype)


def _unit(maps: Tensor) -> Tensor:
    """Unit vectors of maps, [B, N, H, W] → [B, N, HW]."""
    return F.normalize(maps.flatten(2), dim=2, eps=NORM_EPSILON)


def automatic_beta(size: tuple[int, int], mode: BetaMode) -> float:
    """First guess of beta for pictures of `size` = (H, W).

    The published 200 belongs to 32x32: the mean over positions shrinks the distance as 1/HW, so beta grows with the
    area. The sum does not shrink; 0.8 is 200 over the 256 positions of the middle stage of a 32x32 network.
    """
    height, width = size
    return 200.0 * height * width / 32**2 if mode == "paper" else 0.8
