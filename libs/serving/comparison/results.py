"""What a comparison found, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from libs.data.images import ImageSplit
from libs.models.compare_config import CompareConfig, run_name
from libs.serving.comparison.measure import Cost, Measured
from libs.serving.comparison.statistics import (
    FIGURES,
    MAIN,
    Difference,
    Figure,
    Spread,
    difference,
    spread,
    verdict,
)


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class: mean recall over the seeds, of each arm, and how much the method's is above each baseline's."""

    label: str
    pictures: int
    recall: Mapping[str, float]
    change: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Result:
    """The whole comparison.

    Attributes:
        of: the method's name, the first of `arms`.
        chose_weights: whether each run chose its weights on the validation split; else they are those of its end.
        arms: arm → figure → values over the seeds.
        teacher: its figures, as far as it knows the classes; None without one.
        differences: baseline → figure → method minus baseline.
        verdicts: a paragraph for each baseline, on accuracy.
        classes: sorted by the largest change.
    """

    of: str
    seeds: Sequence[int]
    split: str
    pictures: int
    dataset_digest: str
    settings: Mapping[str, Any]
    chose_weights: bool
    arms: Mapping[str, Mapping[str, Spread]]
    teacher: Mapping[str, float] | None
    differences: Mapping[str, Mapping[str, Difference]]
    verdicts: Sequence[str]
    costs: Mapping[str, Cost]
    classes: Sequence[ClassChange]

    def figures(self) -> list[Figure]:
        """The figures every arm has."""
        return [figure for figure in FIGURES if figure.name in self.arms[self.of]]

    def metrics(self) -> dict[str, float]:
        """Flat: means, and mean differences."""
        means = {f"{arm}/{name}": one.mean for arm, figures in self.arms.items() for name, one in figures.items()}
        changes = {
            f"{self.of}-{baseline}/{name}": one.mean
            for baseline, figures in self.differences.items()
            for name, one in figures.items()
        }
        teacher = {f"teacher/{name}": value for name, value in (self.teacher or {}).items()}
        return {**means, **teacher, **changes}

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON values only."""
        return asdict(self)


def compared(
    config: CompareConfig,
    arms: Sequence[str],
    split: ImageSplit,
    runs: Mapping[str, Measured],
    teacher: Measured | None,
    cost: Mapping[str, Cost],
) -> Result:
    """Set the runs side by side. `runs`: `afd/0` → what was measured, each with figures."""
    by_arm = {arm: [runs[run_name(arm, seed)] for seed in config.seeds] for arm in arms}
    figures = {arm: _spreads(some, teacher) for arm, some in by_arm.items()}
    mine, baselines = figures[arms[0]], arms[1:]
    settings = config.parsed().model_dump(mode="json")
    differences = {
        baseline: {name: difference(mine[name], figures[baseline][name]) for name in mine} for baseline in baselines
    }
    return Result(
        of=arms[0],
        seeds=list(config.seeds),
        split=split.name,
        pictures=len(by_arm[arms[0]][0].positions),
        dataset_digest=split.manifest.digest,
        settings=settings,
        chose_weights=settings["checkpoint"] == "best" and "val" in split.manifest.splits,
        arms=figures,
        teacher=None if teacher is None else dict(teacher.figures or {}),
        differences=differences,
        verdicts=[
            verdict(
                MAIN,
                arms[0],
                baseline,
                differences[baseline][MAIN.name],
                mine[MAIN.name].sd,
                figures[baseline][MAIN.name].sd,
            )
            for baseline in baselines
        ],
        costs=dict(cost),
        classes=_classes(split, by_arm),
    )


def _spreads(runs: Sequence[Measured], teacher: Measured | None) -> dict[str, Spread]:
    values = {name: [(run.figures or {})[name] for run in runs] for name in runs[0].figures or {}}
    if teacher is not None and teacher.figures is not None:
        values["agreement"] = [float(np.mean(run.predicted == teacher.predicted)) for run in runs]
    return {name: spread(some) for name, some in values.items()}


def _classes(split: ImageSplit, by_arm: Mapping[str, Sequence[Measured]]) -> list[ClassChange]:
    first, *baselines = by_arm
    counts = np.bincount(split.labels[by_arm[first][0].positions], minlength=len(split.manifest.classes))
    found = []
    for index, label in enumerate(split.manifest.classes):
        if not counts[index]:
            continue
        recall = {arm: float(np.mean([run.recall[index] for run in runs])) for arm, runs in by_arm.items()}
        change = {baseline: recall[first] - recall[baseline] for baseline in baselines}
        found.append(ClassChange(label, int(counts[index]), recall, change))
    return sorted(found, key=lambda one: -max(abs(value) for value in one.change.values()))
