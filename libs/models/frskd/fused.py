"""A weighted sum of maps with a hand-written gradient.

Autograd would keep and re-read several full-size temporaries; this reads every map once per direction. It is exact up
to rounding, works in any memory format and under autocast. No generators: torch's compiler cannot trace them in a
backward pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, *maps: Tensor) -> Tensor:
        ctx.save_for_backward(weights, *maps)
        scales = weights.to(maps[0].dtype).unbind()
        fused: Tensor = maps[0] * scales[0]
        for scale, one in zip(scales[1:], maps[1:], strict=True):
            fused += one * scale  # not addcmul_: its single rounding shows after a few batch norms
        return fused

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        weights, *maps = ctx.saved_tensors
        scales = weights.to(gradient.dtype).unbind()
        of_weights = torch.stack([_inner_product(gradient, one) for one in maps]).to(weights.dtype)
        return of_weights, *[gradient * scale for scale in scales]


def weighted_sum(weights: Tensor, maps: tuple[Tensor, ...]) -> Tensor:
    """sum_k weights[k] * maps[k] of maps of one shape and type."""
    fused: Tensor = _WeightedSum.apply(weights, *maps)
    return fused


def _inner_product(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a * b, accumulated in at least float32."""
    if a.dtype == b.dtype and a.dtype in (torch.float32, torch.float64):
        for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
            first, second = a.permute(order), b.permute(order)
            if first.is_contiguous() and second.is_contiguous():
                return torch.dot(first.flatten(), second.flatten())
    return (a * b).sum(dtype=torch.promote_types(a.dtype, torch.float32))
