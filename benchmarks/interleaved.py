"""Steps side by side: every contestant once a round, so that a busy machine slows all of them alike."""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

_TITLE = 54
"""Columns of the name of a ratio."""


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


@dataclass(frozen=True)
class Goal:
    """What the ratio of two contestants' CPU time is to be, at most or at least."""

    over: str
    under: str
    limit: float
    kind: Literal["at most", "at least"]

    def judge(self, ratio: float) -> dict[str, object]:
        met = ratio <= self.limit if self.kind == "at most" else ratio >= self.limit
        return {"ratio": round(ratio, 3), "limit": self.limit, "kind": self.kind, "met": met}


def report(
    timings: Mapping[str, Timing],
    setting: Mapping[str, object],
    goals: Mapping[str, Goal],
    ratios: Mapping[str, tuple[str, str]],
    memory: Mapping[str, int] | None = None,
    memory_goals: Mapping[str, Goal] | None = None,
) -> dict[str, object]:
    """Print a table of times, one of goals, and further ratios of median CPU times.

    Args:
        setting: what was measured; the head of the tables.
        goals: title → goal.
        ratios: title → (over, under).
        memory: bytes by contestant, and goals that are of these.

    Returns:
        All of it, for a JSON file.
    """
    print(f"\n{', '.join(f'{name} {value}' for name, value in setting.items())}, torch {torch.__version__}\n")
    print(f"{'forward and backward':36}{'CPU ms':>9}{'min':>9}{'wall ms':>9}")
    for name, timing in timings.items():
        print(f"{name:36}{timing.cpu_median_ms:9.1f}{timing.cpu_min_ms:9.1f}{timing.wall_median_ms:9.1f}")
    cpu = {name: timing.cpu_median_ms for name, timing in timings.items()}
    results: dict[str, object] = {}
    print(f"\n{'goal':{_TITLE}}{'ratio':>7}")
    for figures, wanted in ((cpu, goals), (memory or {}, memory_goals or {})):
        for title, goal in wanted.items():
            judged = goal.judge(figures[goal.over] / figures[goal.under])
            verdict = "met" if judged["met"] else "MISSED"
            print(f"{title:{_TITLE}}{judged['ratio']:7.3f}   {goal.kind} {goal.limit}: {verdict}")
            results[title] = judged
    print()
    others = {title: round(cpu[over] / cpu[under], 3) for title, (over, under) in ratios.items()}
    for title, value in others.items():
        print(f"{title:{_TITLE}}{value:7.2f}")
    return {
        "setting": dict(setting),
        "versions": {"torch": torch.__version__, "python": platform.python_version(), "machine": platform.machine()},
        "timings": {name: asdict(timing) for name, timing in timings.items()},
        **({} if memory is None else {"peak_bytes": dict(memory)}),
        "targets": results,
        "ratios": others,
    }
