"""Exponential moving average of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged_copy(module: nn.Module, decay: float) -> AveragedModel:
    """A copy that follows `module` at each `update_parameters`, batch-norm statistics included.

    avg <- d avg + (1-d) w with d = min(decay, (1+n)/(10+n)) after n updates: early averages forget the start.
    """
    return AveragedModel(module, multi_avg_fn=_update(decay), use_buffers=True)


def _update(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    @torch.no_grad()
    def update(averages: Tensors, values: Tensors, updates: Tensor | int) -> None:
        n = int(updates)
        keep = min(decay, (1 + n) / (10 + n))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), 1 - keep)
            else:
                average.copy_(value)

    return update
