"""What one training step of any method returns: named raw losses, their weights, and the logits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Losses of one step.

    Attributes:
        losses: raw scalar losses by name.
        weights: what each is multiplied by; the same keys.
        logits: [B, K] of the network that is trained for use, in float32.
        extras: further tensors for logs and reports, without gradient.
    """

    losses: Mapping[str, Tensor]
    weights: Mapping[str, float]
    logits: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def weighted(self) -> dict[str, Tensor]:
        """The terms of the total by name."""
        return {name: self.weights[name] * loss for name, loss in self.losses.items()}

    @property
    def total(self) -> Tensor:
        """The scalar to differentiate."""
        return torch.stack(list(self.weighted.values())).sum()


def at_least_float32(values: Tensor) -> Tensor:
    """`values`, in float32 if they are 16-bit: losses are computed in full precision, outside autocast."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
