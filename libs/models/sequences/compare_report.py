"""The report of a comparison of recommenders: one page, and the same as JSON and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from libs.data.events.dataset import EventData
from libs.models.sequences.report_sections import (
    Comparison,
    Margin,
    candidates_in_words,
    data_section,
    slices_section,
)
from libs.models.sequences.served import ServedRules
from libs.training.comparison.arms import Arms
from libs.training.comparison.sections import (
    differences_section,
    means_section,
    seeds_section,
    tiles,
    verdicts_section,
    write_files,
)
from libs.training.report.page import Section, Table, render_page
from libs.training.report.training import settings_section


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model is and takes.

    Attributes:
        parameters: of the trained network.
        size_bytes: of its bundle, item vectors and tables included.
        latency_ms: median wall time from one history to the scores of all items.
    """

    parameters: int
    size_bytes: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """The whole comparison.

    Attributes:
        arms: figures of the runs; beside them what has no seeds: popularity, item-kNN, registered models.
        registered: what to know of the registered models, by the names they have beside the arms.
        margins: NDCG@10 of the method, its mean over the seeds, against all others, over users.
        slices: the first seed's models, and what has no seeds.
        rules: how all were measured.
        settings: of the method.
        chose_weights: whether each run chose its weights on the validation split; else they are those of its end.
        costs: of the first seed's models.
    """

    arms: Arms
    registered: Mapping[str, Mapping[str, Any]]
    margins: Sequence[Margin]
    slices: Comparison
    rules: ServedRules
    settings: Mapping[str, Any]
    chose_weights: bool
    data: EventData
    costs: Mapping[str, Cost]

    def sentences(self) -> list[str]:
        """A plain answer for each trained baseline, over seeds, and one for what has no seeds, over users."""
        once = [margin for margin in self.margins if margin.baseline in self.arms.beside]
        return [*self.arms.verdicts, *(self._against(margin) for margin in once)]

    def _against(self, margin: Margin) -> str:
        return (
            f"NDCG@10 of {self.arms.of}, mean of {len(self.arms.seeds)} seeds, minus that of {margin.baseline}: "
            f"{margin.difference:+.4f} ± {margin.half_width:.4f} (95 %, over users): {self.arms.of} {margin.verdict}."
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON values only."""
        return {
            **self.arms.as_json(),
            "verdicts": self.sentences(),
            "registered": self.registered,
            "over_users": [margin.as_json() for margin in self.margins],
            "split": self.slices.split,
            "held_out_events": len(self.slices.model.ranks),
            "cases": self.slices.model.cases,
            "candidates": candidates_in_words(self.rules),
            "dataset_digest": self.data.manifest.digest,
            "settings": self.settings,
            "chose_weights": self.chose_weights,
            "costs": {name: asdict(cost) for name, cost in self.costs.items()},
            "by_history_length": self.slices.by_history_length(),
        }


def write_report(folder: Path, result: Result) -> None:
    """Write `report.html`, `report.json` and `metrics.csv` (a row for each run and figure)."""
    arms, manifest = result.arms, result.data.manifest
    candidates = "; ".join(
        f"figures that end in {ending.strip('_').replace('_', ' ')}: {words}" if ending else words
        for ending, words in candidates_in_words(result.rules).items()
    )
    rules = " and ".join(name for name in arms.beside if name not in result.registered)
    notes = " ".join(known["note"] for known in result.registered.values())
    no_seeds = f"{rules} learn nothing and have no seed. {notes}".rstrip()
    sections = [
        verdicts_section(arms, "", [_over_users(result)]),
        means_section(arms, f"{no_seeds} Candidates: {candidates}."),
        differences_section(arms, "on these held-out events, and nothing of other events"),
        seeds_section(arms),
        _of_first_seed(slices_section(result.slices)),
        _costs(result),
        data_section(result.data),
        settings_section(result.settings),
    ]
    page = render_page(
        f"{arms.of} and its baselines",
        f"{_cases(result)} of the {result.slices.split} split, {manifest.items:,} items, data set "
        f"{manifest.digest[:12]}, {len(arms.seeds)} seeds. {_chosen(result)}",
        tiles(arms),
        sections,
    )
    write_files(folder, page, result.as_json(), arms)


def _cases(result: Result) -> str:
    measured, cases = len(result.slices.model.ranks), result.slices.model.cases
    part = f", a random part of its {cases:,}, the same for every model" if measured < cases else ""
    return f"{measured:,} held-out events{part}"


def _chosen(result: Result) -> str:
    if not result.chose_weights:
        return "Each run's weights are those of its last step."
    chosen = "Each run chose its weights on the validation split"
    flattered = "" if result.slices.split == "test" else ", which is this one: the figures flatter all of them"
    return f"{chosen}{flattered}."


def _over_users(result: Result) -> Table:
    rows = [
        [
            margin.baseline,
            f"{margin.difference:+.4f}",
            f"± {margin.half_width:.4f}",
            f"{result.arms.of} {margin.verdict}",
        ]
        for margin in result.margins
    ]
    caption = (
        "NDCG@10 of the method less that of each, mean of the seeds over the same held-out events, with its 95 % "
        "interval over users: what these seeds' models are worth to other users like these"
    )
    return Table(["", "Difference", "95 %", ""], rows, frozenset({1, 2}), caption)


def _of_first_seed(section: Section) -> Section:
    return Section(section.title, f"Of the first seed's models. {section.text}", section.blocks)


def _costs(result: Result) -> Section:
    header = ["", "Parameters", "Files", "One history"]
    rows = [
        [name, f"{cost.parameters:,}", f"{cost.size_bytes / 1e6:,.2f} MB", f"{cost.latency_ms:.3f} ms"]
        for name, cost in result.costs.items()
    ]
    text = (
        "Of the first seed's model. Times are medians from one history to the scores of all items, by ONNX Runtime on "
        "this worker, the models taking turns."
    )
    return Section("Size and speed", text, [Table(header, rows, frozenset({1, 2, 3}))])
