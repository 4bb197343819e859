"""Which weights a run keeps, and when it has seen enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

LOWER_IS_BETTER = {"nll", "loss"}


@dataclass(slots=True)
class Selection:
    """The best weights so far by a figure of the validation split.

    Attributes:
        monitor: the figure; `nll` and `loss` fall, the others rise.
        value: its best value, None before the first evaluation.
        epoch: epochs that were done then.
        weights: the module's state then, on the CPU.
    """

    monitor: str
    value: float | None = None
    epoch: int = 0
    weights: dict[str, Tensor] | None = None

    def offer(self, figures: Mapping[str, float], epoch: int, weights: Mapping[str, Tensor]) -> bool:
        """Keep the weights if their figure is strictly better, which NaN never is; say whether it was."""
        value = figures[self.monitor]
        if math.isnan(value) or (self.value is not None and not self._better(value, self.value)):
            return False
        self.value, self.epoch = value, epoch
        self.weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
        return True

    def _better(self, value: float, than: float) -> bool:
        return value < than if self.monitor in LOWER_IS_BETTER else value > than

    def stands_still(self, epoch: int, patience_epochs: int | None) -> bool:
        """Whether the best is `patience_epochs` or more old."""
        return patience_epochs is not None and self.value is not None and epoch - self.epoch >= patience_epochs

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"value": self.value, "epoch": self.epoch, "weights": self.weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.value, self.epoch, self.weights = state["value"], state["epoch"], state["weights"]
