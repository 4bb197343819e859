"""What a comparison of classifiers found, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from libs.data.images import ImageSplit
from libs.models.compare_config import CompareConfig, run_name
from libs.serving.comparison.measure import Cost, Measured
from libs.training.comparison.arms import Arms, set_side_by_side
from libs.training.comparison.statistics import Figure

FIGURES = (
    Figure("accuracy", "Accuracy %", True, True),
    Figure("nll", "NLL", False, False),
    Figure("ece", "ECE", False, False),
    Figure("nll_uncalibrated", "NLL, temperature 1", False, False),
    Figure("ece_uncalibrated", "ECE, temperature 1", False, False),
    Figure("agreement", "Agreement with the teacher %", True, True),
)
"""Verdicts are about the first."""


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
        arms: figures of the runs, and of the teacher as far as it knows the classes.
        chose_weights: whether each run chose its weights on the validation split; else they are those of its end.
        classes: sorted by the largest change.
    """

    arms: Arms
    split: str
    pictures: int
    dataset_digest: str
    settings: Mapping[str, Any]
    chose_weights: bool
    costs: Mapping[str, Cost]
    classes: Sequence[ClassChange]

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON values only."""
        return {**self.arms.as_json(), **{name: value for name, value in asdict(self).items() if name != "arms"}}


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
    settings = config.parsed().model_dump(mode="json")
    return Result(
        arms=set_side_by_side(
            config.seeds,
            FIGURES,
            {arm: [_figures(one, teacher) for one in some] for arm, some in by_arm.items()},
            {} if teacher is None else {"teacher": dict(teacher.figures or {})},
        ),
        split=split.name,
        pictures=len(by_arm[arms[0]][0].positions),
        dataset_digest=split.manifest.digest,
        settings=settings,
        chose_weights=settings["checkpoint"] == "best" and "val" in split.manifest.splits,
        costs=dict(cost),
        classes=_classes(split, by_arm),
    )


def _figures(run: Measured, teacher: Measured | None) -> dict[str, float]:
    """Its own, and how often it says what the teacher says."""
    figures = dict(run.figures or {})
    if teacher is not None and teacher.figures is not None:
        figures["agreement"] = float(np.mean(run.predicted == teacher.predicted))
    return figures


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
