"""The report every training of a next-item model leaves.

`report.html`, `report.json`, `metrics.csv` and TensorBoard events.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from libs.data.events.dataset import EventData
from libs.models.sequences.beside import Beside, details_of
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked
from libs.models.sequences.ranking import Popularity
from libs.models.sequences.report_examples import Example, examples_of, examples_section
from libs.models.sequences.report_sections import (
    Comparison,
    candidates_in_words,
    comparison_section,
    data_section,
    slices_section,
)
from libs.models.sequences.task import FittedSequences
from libs.serving.bundle import NextItemBundle
from libs.training.report.files import write_json, write_metrics_csv, write_tensorboard
from libs.training.report.page import Section, Tile, render_page
from libs.training.report.training import bundle_tiles, course_section, history_json, ranking_chart, settings_section


@dataclass(frozen=True, slots=True)
class RecommendationReport:
    """What a report is made of.

    Attributes:
        title: of the page.
        method: name in the catalog.
        metrics: final figures, as in the outcome.
        baselines: on the test split, or on the validation split when there is no test; by name.
        beside: registered models on the same cases, by role.
        sections: what the method itself has to show.
        method_details: and what it adds to `report.json`, JSON values only.
    """

    title: str
    method: str
    data: EventData
    config: SequenceTrainingConfig
    fitted: FittedSequences
    bundle: NextItemBundle
    metrics: Mapping[str, float]
    baselines: Mapping[str, Ranked]
    sections: Sequence[Section]
    method_details: Mapping[str, Any]
    beside: Mapping[str, Beside] = field(default_factory=dict)


def write_recommendation_report(folder: Path, content: RecommendationReport) -> None:
    """Write all files of the report into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    history, comparison = content.fitted.history, _comparison(content)
    examples = [] if comparison is None else examples_of(comparison.model, content.data)
    page = render_page(
        content.title, _subtitle(content), _tiles(content, comparison), _sections(content, comparison, examples)
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_json(folder / "report.json", _as_json(content, comparison, examples))
    write_metrics_csv(folder / "metrics.csv", history)
    write_tensorboard(folder / "tensorboard", history)


def _comparison(content: RecommendationReport) -> Comparison | None:
    """On the test split, else on the validation split."""
    fitted = content.fitted
    model = fitted.val if fitted.test is None else fitted.test
    if model is None:
        return None
    return Comparison(
        split="val" if fitted.test is None else "test",
        method=content.method,
        model=model,
        baselines=content.baselines,
        popularity=Popularity(torch.from_numpy(content.data.events.training_counts())),
        beside=content.beside,
    )


def _sections(
    content: RecommendationReport, comparison: Comparison | None, examples: Sequence[Example]
) -> list[Section]:
    history = content.fitted.history
    sections: list[Section] = []
    if comparison is not None:
        sections += [comparison_section(comparison, content.config), slices_section(comparison)]
    sections.append(course_section(history, content.fitted.chosen_step, [ranking_chart(history)], "sequences"))
    sections += content.sections
    if comparison is not None and examples:
        sections.append(examples_section(examples, comparison.split))
    return [*sections, data_section(content.data), settings_section(content.config.model_dump(mode="json"))]


def _subtitle(content: RecommendationReport) -> str:
    manifest, fitted = content.data.manifest, content.fitted
    return (
        f"{content.bundle.architecture} on {manifest.events:,} events of {manifest.users:,} users and "
        f"{manifest.items:,} items, data set {manifest.digest[:12]}, seed {content.bundle.lineage.seed}, "
        f"{fitted.steps:,} steps in {fitted.epochs} epochs" + (", stopped early" if fitted.stopped_early else "") + "."
    )


def _tiles(content: RecommendationReport, comparison: Comparison | None) -> list[Tile]:
    tiles = []
    if comparison is not None:
        figures = comparison.figures()
        for name, label in (("ndcg@10", "NDCG@10"), ("hr@10", "HR@10"), ("mrr@20", "MRR@20")):
            tiles.append(Tile(label, f"{figures[comparison.method][name]:.4f}", comparison.split))
        for baseline in comparison.others:
            tiles.append(Tile(f"NDCG@10 {baseline}", f"{figures[baseline]['ndcg@10']:.4f}", "baseline"))
    return tiles + bundle_tiles(content.bundle)


def _as_json(
    content: RecommendationReport, comparison: Comparison | None, examples: Sequence[Example]
) -> dict[str, Any]:
    fitted = content.fitted
    return {
        "title": content.title,
        "metrics": {name: _finite(value) for name, value in content.metrics.items()},
        "bundle": content.bundle.model_dump(mode="json"),
        "steps": fitted.steps,
        "epochs": fitted.epochs,
        "chosen_epoch": fitted.chosen_epoch,
        "stopped_early": fitted.stopped_early,
        "method": dict(content.method_details),
        "result": None if comparison is None else _result_json(comparison, content.config, examples),
        "history": history_json(fitted.history),
    }


def _result_json(comparison: Comparison, config: SequenceTrainingConfig, examples: Sequence[Example]) -> dict[str, Any]:
    return {
        "split": comparison.split,
        "measured_cases": len(comparison.model.ranks),
        "cases": comparison.model.cases,
        "candidates": candidates_in_words(config),
        "figures": {
            who: {name: _finite(value) for name, value in figures.items()}
            for who, figures in comparison.figures().items()
        },
        "against": [margin.as_json() for margin in comparison.margins()],
        **details_of(comparison.beside),
        "by_history_length": comparison.by_history_length(),
        "examples": [example.as_json() for example in examples],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
