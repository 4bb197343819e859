"""Means, spreads over seeds, and paired differences. With few seeds: what they cannot tell is said."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, 97.5 % quantile, for 1, 2, … degrees of freedom: one less than the seeds of a comparison."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that trainings are compared by.

    Attributes:
        title: how tables call it.
        is_share: shown in per cent, its differences in points.
    """

    name: str
    title: str
    more_is_better: bool
    is_share: bool

    def shown(self, value: float, *, signed: bool = False) -> str:
        """The value as text: shares in per cent, differences of shares in points."""
        sign = "+" if signed else ""
        return f"{value * 100:{sign}.2f}" if self.is_share else f"{value:{sign}.4f}"

    @property
    def unit(self) -> str:
        """Of a difference."""
        return " points" if self.is_share else ""


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over the seeds, in their order. `sd` is the sample standard deviation."""

    values: Sequence[float]
    mean: float
    sd: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of at least two values."""
    return Spread(list(values), statistics.fmean(values), statistics.stdev(values))


@dataclass(frozen=True, slots=True)
class Difference:
    """Method minus baseline, seed by seed.

    Attributes:
        values: one a seed.
        low: of the 95 % interval of the mean, by Student's t. high: likewise.
        larger_than_spread: the mean difference exceeds the larger of the two standard deviations over seeds.
        excludes_zero: the interval does.
    """

    values: Sequence[float]
    mean: float
    sd: float
    low: float
    high: float
    larger_than_spread: bool
    excludes_zero: bool


def difference(method: Spread, baseline: Spread) -> Difference:
    """The paired difference of two figures of the same seeds, 2 to 10 of them."""
    paired = spread([a - b for a, b in zip(method.values, baseline.values, strict=True)])
    half = T_975[len(paired.values) - 2] * paired.sd / math.sqrt(len(paired.values))
    low, high = paired.mean - half, paired.mean + half
    return Difference(
        values=paired.values,
        mean=paired.mean,
        sd=paired.sd,
        low=low,
        high=high,
        larger_than_spread=abs(paired.mean) > max(method.sd, baseline.sd),
        excludes_zero=low > 0 or high < 0,
    )


def verdict(figure: Figure, method: str, baseline: str, found: Difference, method_sd: float, baseline_sd: float) -> str:
    """Two sentences: the difference with its interval, and whether it is larger than the spread of the seeds."""
    seeds = len(found.values)
    name = figure.title.removesuffix(" %")
    mean = f"{figure.shown(found.mean, signed=True)}{figure.unit}"
    interval = f"{figure.shown(found.low, signed=True)} to {figure.shown(found.high, signed=True)}"
    is_is_not = "is" if found.larger_than_spread else "is not"
    sds = f"sd {figure.shown(method_sd)} and {figure.shown(baseline_sd)}"
    holds = "does not contain 0" if found.excludes_zero else "contains 0: chance alone could be the reason"
    return (
        f"{name} of {method} minus that of {baseline}, mean of {seeds} seeds: {mean}, 95 % interval {interval}. "
        f"The difference {is_is_not} larger than the spread of the seeds ({sds}), and the interval {holds}."
    )
