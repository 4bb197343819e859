"""Steps side by side: every contestant once a round, so that a busy machine slows all of them alike."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Timing:
    """Milliseconds a step."""

    cpu_median_ms: float
    cpu_min_ms: float
    wall_median_ms: float


def training_step(model: nn.Module, loss: Callable[[], Tensor], inputs: Sequence[Tensor] = ()) -> Callable[[], Tensor]:
    """Forward and backward from empty gradients of the model, and of inputs that need some."""

    def step() -> Tensor:
        model.zero_grad(set_to_none=True)
        for tensor in inputs:
            tensor.grad = None
        value = loss()
        value.backward()
        return value

    return step


def measure(steps: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, Timing]:
    """Every contestant once a round, after one round of warming up."""
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    wall: dict[str, list[float]] = {name: [] for name in steps}
    gc.disable()
    for index in range(rounds + 1):
        for name, step in steps.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            step()
            if index:
                cpu[name].append(1000 * (time.process_time() - cpu_start))
                wall[name].append(1000 * (time.perf_counter() - wall_start))
        gc.collect()
    gc.enable()
    return {name: Timing(statistics.median(cpu[name]), min(cpu[name]), statistics.median(wall[name])) for name in steps}
