"""The report of a comparison of classifiers: one page, and the same as JSON and CSV."""

from pathlib import Path

from libs.serving.comparison.results import Result
from libs.training.comparison.sections import (
    differences_section,
    means_section,
    seeds_section,
    tiles,
    verdicts_section,
    write_files,
)
from libs.training.report.page import Section, Table, render_page

MOST_CLASSES = 40


def write_report(folder: Path, result: Result) -> None:
    """Write `report.html`, `report.json` and `metrics.csv` (a row for each run and figure)."""
    arms = result.arms
    probabilities = (
        "NLL and ECE (15 bins) are of the probabilities that are served, with the temperature each run fitted on its "
        "validation split, and at temperature 1."
    )
    sections = [
        verdicts_section(arms, ""),
        means_section(arms, probabilities),
        differences_section(arms, "on these pictures, and nothing of other pictures"),
        seeds_section(arms),
        _costs(result),
        _classes(result),
    ]
    page = render_page(
        f"{arms.of} and its baselines",
        f"{result.pictures:,} pictures of the split {result.split}, data set {result.dataset_digest[:12]}, "
        f"{len(arms.seeds)} seeds. {_chosen(result)}",
        tiles(arms),
        sections,
    )
    write_files(folder, page, result.as_json(), arms)


def _chosen(result: Result) -> str:
    if result.chose_weights:
        chosen = "Each run chose its weights on the validation split"
        flattered = ", which is this one: the figures flatter all of them."
    else:
        chosen = "Each run's weights are those of its last step"
        flattered = ". Its temperature was fitted on this split: NLL and ECE as served flatter all of them."
    return f"{chosen}." if result.split == "test" else f"{chosen}{flattered}"


def _costs(result: Result) -> Section:
    header = ["", "Network", "Parameters", "Multiply-adds", "ONNX file", "One picture"]
    rows = [
        [
            name,
            cost.architecture,
            f"{cost.parameters:,}",
            "unknown" if cost.macs is None else f"{cost.macs / 1e6:,.2f} M",
            f"{cost.size_bytes / 1e6:,.2f} MB",
            f"{cost.latency_ms:.3f} ms",
        ]
        for name, cost in result.costs.items()
    ]
    text = (
        "Of the first seed's model. Multiply-adds are those of convolutions and matrix products for one picture. Times "
        "are medians of ONNX Runtime on one thread of this worker, the models taking turns."
    )
    return Section("Size and speed", text, [Table(header, rows, frozenset({2, 3, 4, 5}))])


def _classes(result: Result) -> Section:
    of, main = result.arms.of, result.arms.main
    arms, baselines = list(result.arms.arms), list(result.arms.differences)
    header = ["Class", "Pictures", *arms, *(f"{of} - {baseline}" for baseline in baselines)]
    rows = [
        [
            one.label,
            str(one.pictures),
            *(main.shown(one.recall[arm]) for arm in arms),
            *(main.shown(one.change[baseline], signed=True) for baseline in baselines),
        ]
        for one in result.classes[:MOST_CLASSES]
    ]
    left = len(result.classes) - len(rows)
    more = f" The other {left} are in report.json." if left else ""
    text = f"Share recognised in %, mean over the seeds; the largest changes first.{more}"
    return Section("Class by class", text, [Table(header, rows, frozenset(range(1, len(header))))])
