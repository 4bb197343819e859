"""Sections about a next-item model measured on a split, beside its baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from libs.data.events.cooccurrence import MOST_ITEMS_OF_A_USER, users_cut
from libs.data.events.dataset import EventData
from libs.models.sequences.beside import Beside, registered_name
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import BUCKETS, CUTOFFS, Ranked, other_rule
from libs.models.sequences.ranking import Popularity, figures_of, gains
from libs.models.sequences.sampling import sampled_name
from libs.training.report.charts import grouped_bar_chart, line_chart
from libs.training.report.page import Block, Chart, Section, Table

_NORMAL_95 = 1.959964
_RANKED = {"ndcg": "NDCG", "hr": "HR", "mrr": "MRR"}
_OF_LISTS = {"coverage": "Coverage", "novelty_bits": "Novelty, bits", "gini": "Gini of exposure"}


@dataclass(frozen=True, slots=True)
class Margin:
    """How far a model's NDCG@10 is above a baseline's, over the same cases.

    Attributes:
        half_width: of the 95 % interval of the mean difference, by the normal approximation; cases of one user are not
            taken for independent.
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
    """A model, its baselines and the registered models beside it, on the same cases of one split.

    Raises:
        ValueError: somebody was measured on other cases, or in another order.
    """

    split: str
    method: str
    model: Ranked
    baselines: Mapping[str, Ranked]
    popularity: Popularity
    beside: Mapping[str, Beside] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strangers = [name for name, ranked in self.others.items() if not torch.equal(ranked.rows, self.model.rows)]
        if strangers:
            raise ValueError(f"measured on other cases than {self.method}: {', '.join(strangers)}")

    @property
    def all(self) -> dict[str, Ranked]:
        """The model first."""
        return {self.method: self.model, **self.others}

    @property
    def others(self) -> dict[str, Ranked]:
        """All but the model; a registered model of its own method is marked."""
        marked = {registered_name(role) if role == self.method else role: one for role, one in self.beside.items()}
        return {**self.baselines, **{name: one.ranked for name, one in marked.items()}}

    def figures(self) -> dict[str, dict[str, float]]:
        """Of each, by name."""
        return {name: ranked.figures(self.popularity) for name, ranked in self.all.items()}

    def margins(self) -> list[Margin]:
        """The model against each of the others."""
        mine = gains(self.model.ranks, 10)
        return [
            margin_of(name, mine, gains(ranked.ranks, 10), self.model.users) for name, ranked in self.others.items()
        ]

    def by_history_length(self) -> dict[str, Any]:
        """Cases and HR@10 of each by the events before the held-out item, in powers of two."""
        power = torch.floor(torch.log2(self.model.history_lengths.double())).long()
        found = torch.unique(power).tolist()
        return {
            "lengths": [_lengths(k) for k in found],
            "cases": [int((power == k).sum()) for k in found],
            "hr@10": {name: _by_group(ranked.ranks, power, found) for name, ranked in self.all.items()},
        }


def margin_of(baseline: str, mine: Tensor, others: Tensor, users: Tensor) -> Margin:
    """How far NDCG@10 of cases [N] of users [N] is above that of a baseline on the same cases."""
    differences = mine - others
    return Margin(baseline, float(differences.mean()), _NORMAL_95 * error_of_mean(differences, users))


def error_of_mean(values: Tensor, users: Tensor) -> float:
    """Standard error of the mean of values [N] that are independent between users only.

    Infinite for a single user, who says nothing of others.
    """
    found, owners = torch.unique(users, return_inverse=True)
    if len(found) < 2:
        return math.inf
    sums = torch.zeros(len(found), dtype=values.dtype).index_add_(0, owners, values - values.mean())
    return math.sqrt(len(found) / (len(found) - 1) * float(sums.square().sum())) / len(values)


def _lengths(power: int) -> str:
    return "1" if power == 0 else f"{2**power}-{2 ** (power + 1) - 1}"


def _by_group(ranks: Tensor, groups: Tensor, chosen: Sequence[int]) -> list[float]:
    return [figures_of(ranks[groups == group], (10,))["hr@10"] for group in chosen]


def candidates_in_words(config: SequenceTrainingConfig) -> dict[str, str]:
    """The candidate set of figures, by what their names end in."""
    seen = {True: "full ranking, seen items excluded", False: "full ranking, seen items included"}
    words = {"": seen[config.exclude_seen]}
    if config.also_seen:
        words[other_rule(config)] = seen[not config.exclude_seen]
    if config.sampled_candidates is not None:
        rule = {
            "distinct": "that the user never met, none twice",
            "reference": "drawn with repetition, none of the user's training items",
        }[config.sampling]
        ending = sampled_name(config.sampled_candidates, config.sampling)
        words[ending] = f"the held-out item and {config.sampled_candidates:,} sampled ones {rule}"
    return words


def comparison_section(comparison: Comparison, config: SequenceTrainingConfig) -> Section:
    """What the model is worth beside what needs no training, and beside registered models."""
    figures = comparison.figures()
    tables = [
        _table(figures, [f"{name}@{k}{ending}" for name in _RANKED for k in CUTOFFS], words[:1].upper() + words[1:])
        for ending, words in candidates_in_words(config).items()
    ]
    lists = [name for name in figures[comparison.method] if name.startswith(tuple(_OF_LISTS))]
    return Section(
        "Against the baselines", _verdicts(comparison, config), [*tables, _table(figures, lists, "Of the lists of ten")]
    )


def _table(figures: Mapping[str, Mapping[str, float]], names: Sequence[str], caption: str) -> Table:
    """One row a figure, one column for each who was measured."""
    rows = [[_label(name), *_row([of[name] for of in figures.values()], name)] for name in names]
    return Table(["", *figures], rows, frozenset(range(1, 1 + len(figures))), caption, wide=False)


def _label(name: str) -> str:
    figure, _, rest = name.partition("@")
    return _OF_LISTS[figure] if figure in _OF_LISTS else f"{_RANKED[figure]}@{rest.partition('_')[0]}"


def _row(values: Sequence[float], name: str) -> list[str]:
    """Numbers of one figure, the best of the ranking in bold."""
    best = max(values) if name.startswith(tuple(_RANKED)) else math.nan
    shown = [f"{value:.4f}" for value in values]
    return [Markup("<b>{}</b>").format(s) if v == best else s for s, v in zip(shown, values, strict=True)]


def _verdicts(comparison: Comparison, config: SequenceTrainingConfig) -> str:
    measured, cases = len(comparison.model.ranks), comparison.model.cases
    said = [f"{measured:,} held-out items of the {comparison.split} split."]
    if measured < cases:
        said.append(f"They are a random part of its {cases:,}, the same for every model: see most_scores.")
    said += [
        f"The model {margin.verdict} ({margin.difference:+.4f} ± {margin.half_width:.4f} NDCG@10)."
        for margin in comparison.margins()
    ]
    if comparison.others:
        said.append("Differences are means over the same cases with their 95 % interval over users.")
    said += [one.note for one in comparison.beside.values()]
    if config.sampled_candidates is not None:
        said.append("Figures over sampled items are far higher and compare with no full ranking.")
    return " ".join(said)


def slices_section(comparison: Comparison) -> Section:
    """Where the model is right and where not."""
    blocks: list[Block] = [
        Chart(_bucket_chart(comparison), "HR@10 by popularity of the held-out item"),
        Chart(_length_chart(comparison), "HR@10 by length of the history; below each, its cases"),
        Chart(_rank_chart(comparison), "Share of held-out items up to a rank"),
    ]
    known, text = _known_and_cold(comparison)
    buckets = "Popular: the fifth of the items with most training events; middle: up to half of them; tail: the rest."
    return Section("Where it is right", f"{buckets} {text}", [*blocks, *known])


def _bucket_chart(comparison: Comparison) -> Markup:
    groups = comparison.popularity.buckets()[comparison.model.targets]
    found = [bucket for bucket in BUCKETS if bool((groups == bucket).any())]
    labels = [f"{BUCKETS[bucket]}\n{int((groups == bucket).sum()):,}" for bucket in found]
    bars = {name: _by_group(ranked.ranks, groups, found) for name, ranked in comparison.all.items()}
    return grouped_bar_chart(bars, labels, "held-out items, and how many", "HR@10")


def _length_chart(comparison: Comparison) -> Markup:
    table = comparison.by_history_length()
    labels = [f"{lengths}\n{cases:,}" for lengths, cases in zip(table["lengths"], table["cases"], strict=True)]
    return grouped_bar_chart(table["hr@10"], labels, "events before, and cases", "HR@10")


def _rank_chart(comparison: Comparison) -> Markup:
    marks = [float(mark) for mark in torch.logspace(0, math.log10(len(comparison.popularity.counts)), 80)]
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
    if cut := users_cut(data.events):
        text += f" Of {cut:,} users the newest {MOST_ITEMS_OF_A_USER:,} items alone count in what goes together."
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
