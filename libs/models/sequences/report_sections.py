"""Sections about a next-item model measured on a split, beside its baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from libs.data.events.dataset import EventData
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import BUCKETS, Ranked
from libs.models.sequences.ranking import Popularity, figures_of, gains
from libs.models.sequences.sampling import sampled_name
from libs.training.report.charts import grouped_bar_chart, line_chart
from libs.training.report.page import Block, Chart, Section, Table

_NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Margin:
    """How far a model's NDCG@10 is above a baseline's, over the same cases.

    Attributes:
        half_width: of the 95 % interval of the mean difference, by the normal approximation.
    """

    baseline: str
    difference: float
    half_width: float

    @property
    def verdict(self) -> str:
        """In words."""
        if self.difference > self.half_width:
            return f"beats {self.baseline}"
        if self.difference < -self.half_width:
            return f"does not beat {self.baseline}: it is worse"
        return f"does not beat {self.baseline}: the difference is within chance"

    def as_json(self) -> dict[str, Any]:
        """For `report.json`."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model and its baselines on one split."""

    split: str
    method: str
    model: Ranked
    baselines: Mapping[str, Ranked]
    popularity: Popularity

    @property
    def all(self) -> dict[str, Ranked]:
        """The model first."""
        return {self.method: self.model, **self.baselines}

    def figures(self) -> dict[str, dict[str, float]]:
        """Of each, by name."""
        return {name: ranked.figures(self.popularity) for name, ranked in self.all.items()}

    def margins(self) -> list[Margin]:
        """The model against each baseline."""
        return [self._margin(name, ranked) for name, ranked in self.baselines.items()]

    def _margin(self, name: str, baseline: Ranked) -> Margin:
        differences = gains(self.model.ranks, 10) - gains(baseline.ranks, 10)
        spread = float(differences.std()) if len(differences) > 1 else 0.0
        return Margin(name, float(differences.mean()), _NORMAL_95 * spread / math.sqrt(len(differences)))

    def by_history_length(self) -> dict[str, Any]:
        """Cases and HR@10 of each by the events before the held-out item, in powers of two."""
        power = torch.floor(torch.log2(self.model.history_lengths.double())).long()
        found = torch.unique(power).tolist()
        return {
            "lengths": [_lengths(k) for k in found],
            "cases": [int((power == k).sum()) for k in found],
            "hr@10": {name: _by_group(ranked.ranks, power, found) for name, ranked in self.all.items()},
        }


def _lengths(power: int) -> str:
    return "1" if power == 0 else f"{2**power}-{2 ** (power + 1) - 1}"


def _by_group(ranks: Tensor, groups: Tensor, chosen: Sequence[int]) -> list[float]:
    return [figures_of(ranks[groups == group], (10,))["hr@10"] for group in chosen]


def candidates_in_words(config: SequenceTrainingConfig) -> str:
    """The candidate set of the figures whose names end in nothing."""
    return "full ranking, seen items " + ("excluded" if config.exclude_seen else "included")


def comparison_section(comparison: Comparison, config: SequenceTrainingConfig) -> Section:
    """What the model is worth beside what needs no training."""
    figures = comparison.figures()
    names = [name for name in figures[comparison.method] if "/" not in name]
    rows = [[name, *(f"{figures[who][name]:.4f}" for who in figures)] for name in names]
    caption = (
        f"{len(comparison.model.ranks):,} held-out items of the {comparison.split} split: {candidates_in_words(config)}"
    )
    table = Table(["figure", *figures], rows, frozenset(range(1, 1 + len(figures))), caption)
    return Section("Against the baselines", _verdicts(comparison, config), [table])


def _verdicts(comparison: Comparison, config: SequenceTrainingConfig) -> str:
    said = [
        f"The model {margin.verdict} ({margin.difference:+.4f} ± {margin.half_width:.4f} NDCG@10)."
        for margin in comparison.margins()
    ]
    if said:
        said.append("Differences are means over the same cases with their 95 % interval.")
    if config.sampled_candidates is not None:
        ending = sampled_name(config.sampled_candidates, config.sampling)
        said.append(f"Figures that end in {ending} rank against a sample and compare with no other figure.")
    return " ".join(said)


def slices_section(comparison: Comparison) -> Section:
    """Where the model is right and where not."""
    blocks: list[Block] = [
        Chart(_bucket_chart(comparison), "HR@10 by popularity of the held-out item"),
        Chart(_length_chart(comparison), "HR@10 by length of the history; below each, its cases"),
        Chart(_rank_chart(comparison), "Share of held-out items up to a rank"),
    ]
    known, text = _known_and_cold(comparison)
    buckets = "Popular are the fifth of the items with most training events, the middle goes to half of them."
    return Section("Where it is right", f"{buckets} {text}", [*blocks, *known])


def _bucket_chart(comparison: Comparison) -> Any:
    groups = comparison.popularity.buckets()[comparison.model.targets]
    found = [bucket for bucket in BUCKETS if bool((groups == bucket).any())]
    labels = [f"{BUCKETS[bucket]}\n{int((groups == bucket).sum()):,}" for bucket in found]
    bars = {name: _by_group(ranked.ranks, groups, found) for name, ranked in comparison.all.items()}
    return grouped_bar_chart(bars, labels, "held-out items, and how many", "HR@10")


def _length_chart(comparison: Comparison) -> Any:
    table = comparison.by_history_length()
    labels = [f"{lengths}\n{cases:,}" for lengths, cases in zip(table["lengths"], table["cases"], strict=True)]
    return grouped_bar_chart(table["hr@10"], labels, "events before, and cases", "HR@10")


def _rank_chart(comparison: Comparison) -> Any:
    marks = [float(mark) for mark in torch.logspace(0, math.log10(len(comparison.popularity.counts)), 40)]
    series = {
        name: (marks, [float((ranked.ranks <= mark).double().mean()) for mark in marks])
        for name, ranked in comparison.all.items()
    }
    return line_chart(series, "rank", "share", logarithmic_x=True)


def _known_and_cold(comparison: Comparison) -> tuple[list[Block], str]:
    cold = comparison.model.cold
    if not cold.any():
        return [], "Every user measured here has training events."
    if cold.all():
        return [], "No user measured here has training events: the model meets all of them for the first time."
    rows = []
    for label, chosen in (("known users", ~cold), ("cold users", cold)):
        figures = [figures_of(ranked.ranks[chosen], (10,)) for ranked in comparison.all.values()]
        rows.append([label, f"{int(chosen.sum()):,}", *(f"{f['hr@10']:.4f} / {f['ndcg@10']:.4f}" for f in figures)])
    header = ["", "cases", *comparison.all]
    caption = "Users with training events and without: HR@10 / NDCG@10"
    return [Table(header, rows, frozenset(range(1, len(header))), caption)], ""


def data_section(data: EventData) -> Section:
    """What was trained and measured on."""
    manifest = data.manifest
    rows = [[name, f"{counts.events:,}", f"{counts.users:,}"] for name, counts in manifest.splits.items()]
    text = (
        f"{manifest.events:,} events of {manifest.users:,} users and {manifest.items:,} items from "
        f"{manifest.first_time:%Y-%m-%d} to {manifest.last_time:%Y-%m-%d}, split by {_protocol(data)}."
    )
    return Section("Data", text, [Table(["split", "events", "users"], rows, frozenset({1, 2}))])


def _protocol(data: EventData) -> str:
    split = data.manifest.split
    if split.protocol == "by-user":
        return f"user: {split.val_fraction:.0%} of them for validation, {split.test_fraction:.0%} for testing"
    if split.protocol == "by-time":
        return (
            f"time: validation from {split.validate_from:%Y-%m-%d %H:%M}, testing from {split.test_from:%Y-%m-%d %H:%M}"
        )
    return "leave-last-out: a user's last event for testing, the one before for validation"
