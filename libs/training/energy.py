"""Energy and mean of feature maps, with hand-written gradients: memory-bound pieces that distillation methods share.

Autograd would keep and re-read several full-size temporaries; these read every map once per direction. They are exact
up to rounding and work in any memory format. No generators: torch's compiler cannot trace them in a backward pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from libs.training.objective import at_least_float32


class _ChannelEnergy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.save_for_backward(feature)
        return _energy(feature)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        scaled = gradient * (2 / feature.shape[1])
        of_feature: Tensor = feature * scaled.unsqueeze(1)
        return of_feature


class _EnergyAndMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(feature)  # as it came: a 16-bit map is kept in 16 bits
        wide = at_least_float32(feature)
        return _energy(wide), wide.mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_energy: Tensor, of_mean: Tensor) -> Tensor:
        (feature,) = ctx.saved_tensors
        _, channels, height, width = feature.shape
        scaled = of_energy * (2 / channels)
        shared = (of_mean / (height * width))[:, :, None, None]
        of_feature = torch.addcmul(shared, at_least_float32(feature), scaled.unsqueeze(1))
        return of_feature.to(feature.dtype)


def channel_energy(feature: Tensor) -> Tensor:
    """mean_c F^2, [B, C, H, W] → [B, H, W]."""
    energy: Tensor = _ChannelEnergy.apply(feature)
    return energy


def energy_and_mean(feature: Tensor) -> tuple[Tensor, Tensor]:
    """mean_c F^2 [B, H, W] and mean_{h,w} F [B, C] of a map [B, C, H, W], both in at least float32."""
    energy, mean = _EnergyAndMean.apply(feature)
    return energy, mean


def _energy(feature: Tensor) -> Tensor:
    if feature.is_contiguous(memory_format=torch.channels_last):
        norm: Tensor = torch.linalg.vector_norm(feature, dim=1)
        return norm.square_().div_(feature.shape[1])
    return feature.square().mean(1)
