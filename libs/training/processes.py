"""Several processes in one run: who this one is, and the few things they have to agree on.

`torchrun` starts them; Accelerate joins them (gloo on CPUs, NCCL on GPUs). With one process nothing is imported
and every operation is the identity.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this one reports and writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the processes."""
        if self.count == 1:
            return module
        return nn.parallel.DistributedDataParallel(module)

    def gathered(self, value: Any) -> list[Any]:
        """Every process's plain value, by rank."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        collected: list[Any] = gather_object([value])
        return collected

    def from_main(self, value: int) -> int:
        """The main process's value, in all of them."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return int(broadcast_object_list([value])[0])

    def average(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.count == 1:
            return value
        from accelerate.utils import reduce

        mean: Tensor = reduce(value, "mean")
        return mean

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the main one's buffers (batch-norm statistics), as evaluation must agree."""
        if self.count > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)


ALONE = Processes()
"""A run of one process."""


def join_processes(device: str) -> Processes:
    """This process's place, joining the others on first call if `torchrun` started several."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    from accelerate import PartialState

    state = PartialState(cpu=torch.device(device).type == "cpu")
    return Processes(state.process_index, state.num_processes)
