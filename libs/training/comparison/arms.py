"""A method and its baselines, each trained once for every seed: means, spreads, paired differences, plain answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from libs.training.comparison.statistics import Difference, Figure, Spread, difference, spread, verdict


@dataclass(frozen=True, slots=True)
class Arms:
    """What was compared, and what came out.

    Attributes:
        figures: those that every arm has; the first is the one that verdicts are about.
        arms: arm → figure → values over the seeds; the method first, then its baselines.
        beside: what was measured once, without seeds: a teacher, rules that learn nothing, registered models; name →
            figure → value.
        differences: baseline → figure → method minus baseline.
        verdicts: a paragraph for each baseline.
    """

    seeds: Sequence[int]
    figures: Sequence[Figure]
    arms: Mapping[str, Mapping[str, Spread]]
    beside: Mapping[str, Mapping[str, float]]
    differences: Mapping[str, Mapping[str, Difference]]
    verdicts: Sequence[str]

    @property
    def of(self) -> str:
        """The method that is compared."""
        return next(iter(self.arms))

    @property
    def main(self) -> Figure:
        """The figure that verdicts are about."""
        return self.figures[0]

    def metrics(self) -> dict[str, float]:
        """Flat: means, what was measured once, and mean differences."""
        means = {f"{arm}/{name}": one.mean for arm, figures in self.arms.items() for name, one in figures.items()}
        once = {f"{who}/{name}": value for who, figures in self.beside.items() for name, value in figures.items()}
        changes = {
            f"{self.of}-{baseline}/{name}": one.mean
            for baseline, figures in self.differences.items()
            for name, one in figures.items()
        }
        return {**means, **once, **changes}

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON values only."""
        return {"of": self.of, **asdict(self)}

    def details(self) -> dict[str, Any]:
        """What a job's result says of it."""
        return {
            "of": self.of,
            "seeds": list(self.seeds),
            "arms": list(self.arms),  # in their order, which a database may not keep
            "names": [one.name for one in self.figures],
            "figures": {
                arm: {name: [one.mean, one.sd] for name, one in figures.items()} for arm, figures in self.arms.items()
            },
            "beside": {who: dict(figures) for who, figures in self.beside.items()},
            "beside_names": list(self.beside),  # in their order, likewise
            "verdicts": list(self.verdicts),
            "larger_than_spread": {
                baseline: found[self.main.name].larger_than_spread for baseline, found in self.differences.items()
            },
        }


def set_side_by_side(
    seeds: Sequence[int],
    figures: Sequence[Figure],
    values: Mapping[str, Sequence[Mapping[str, float]]],
    beside: Mapping[str, Mapping[str, float]],
) -> Arms:
    """Compare the first of some arms with each of the others.

    Args:
        figures: to compare by, as far as every run has them; each must have the first.
        values: arm → the figures of its runs, in the order of the seeds.
        beside: as in `Arms`; of the figures those that the runs have.
    """
    shared = [one for one in figures if all(one.name in run for runs in values.values() for run in runs)]
    arms = {arm: {one.name: spread([run[one.name] for run in runs]) for one in shared} for arm, runs in values.items()}
    of, *baselines = arms
    differences = {
        baseline: {one.name: difference(arms[of][one.name], arms[baseline][one.name]) for one in shared}
        for baseline in baselines
    }
    main = shared[0]
    return Arms(
        seeds=list(seeds),
        figures=shared,
        arms=arms,
        beside={
            who: {one.name: known[one.name] for one in shared if one.name in known} for who, known in beside.items()
        },
        differences=differences,
        verdicts=[
            verdict(main, of, name, differences[name][main.name], arms[of][main.name].sd, arms[name][main.name].sd)
            for name in baselines
        ],
    )
