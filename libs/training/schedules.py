"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume."""

import math
from collections.abc import Callable, Sequence

from libs.training.config import TrainingConfig

Schedule = Callable[[int], float]
"""Optimiser step, from 0 → factor on the peak learning rate."""

ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / (25 * 1e4)


def constant(step: int) -> float:
    """1."""
    return 1.0


def one_cycle(step: int, total_steps: int) -> float:
    """Cosine rise from 1/25 over 30 % of the run, cosine fall to nearly zero (Smith & Topin 2017)."""
    rise = ONE_CYCLE_RISE * total_steps - 1
    if step <= rise:
        return _between(ONE_CYCLE_START, 1.0, step / rise)
    return _between(1.0, ONE_CYCLE_END, (step - rise) / max(total_steps - 1 - rise, 1))


def cosine(step: int, total_steps: int) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017)."""
    return _between(1.0, 0.0, min(step / total_steps, 1.0))


def multi_step(step: int, total_steps: int, milestones: Sequence[float], factor: float) -> float:
    """`factor` to the number of milestones (fractions of the run) that are past."""
    return factor ** sum(step >= round(milestone * total_steps) for milestone in milestones)


def warmed_up(schedule: Schedule, warmup_steps: int) -> Schedule:
    """The schedule times a linear rise: step k of the warm-up runs at (k+1)/warmup_steps."""

    def factor(step: int) -> float:
        rise = min((step + 1) / warmup_steps, 1.0) if warmup_steps else 1.0
        return rise * schedule(step)

    return factor


def schedule_of(config: TrainingConfig, total_steps: int) -> Schedule:
    """The schedule a config asks for. One-cycle has its own rise; `warmup_steps` does not apply to it."""
    match config.schedule:
        case "one-cycle":
            return lambda step: one_cycle(step, total_steps)
        case "cosine":
            return warmed_up(lambda step: cosine(step, total_steps), config.warmup_steps)
        case "multi-step":
            milestones, factor = config.milestones, config.lr_factor
            return warmed_up(lambda step: multi_step(step, total_steps, milestones, factor), config.warmup_steps)
        case "constant":
            return warmed_up(constant, config.warmup_steps)


def _between(start: float, end: float, fraction: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
