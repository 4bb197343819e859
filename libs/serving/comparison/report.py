"""The report of a comparison: one page, and the same as JSON and CSV."""

import csv
from pathlib import Path

from pydantic_core import to_json

from libs.serving.comparison.results import Result
from libs.serving.comparison.statistics import MAIN, Figure
from libs.training.report.charts import line_chart
from libs.training.report.page import Chart, Section, Table, Tile, render_page

MOST_CLASSES = 40


def write_report(folder: Path, result: Result) -> None:
    """Write `report.html`, `report.json` and `metrics.csv` (a row for each run and figure)."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = [_verdicts(result), _means(result), _differences(result), _seeds(result), _costs(result)]
    page = render_page(
        f"{result.of} and its baselines",
        f"{result.pictures:,} pictures of the split {result.split}, data set {result.dataset_digest[:12]}, "
        f"{len(result.seeds)} seeds. {_chosen(result)}",
        _tiles(result),
        [*sections, _classes(result)],
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "report.json").write_bytes(to_json(result.as_json(), indent=2, inf_nan_mode="strings"))
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["arm", "seed", "name", "value"])
        for arm, figures in result.arms.items():
            for name, one in figures.items():
                writer.writerows(
                    [arm, seed, name, repr(value)] for seed, value in zip(result.seeds, one.values, strict=True)
                )


def _chosen(result: Result) -> str:
    if result.chose_weights:
        chosen = "Each run chose its weights on the validation split"
        flattered = ", which is this one: the figures flatter all of them."
    else:
        chosen = "Each run's weights are those of its last step"
        flattered = ". Its temperature was fitted on this split: NLL and ECE as served flatter all of them."
    return f"{chosen}." if result.split == "test" else f"{chosen}{flattered}"


def _tiles(result: Result) -> list[Tile]:
    tiles = [
        Tile(arm, f"{figures[MAIN.name].mean:.1%}", f"accuracy, sd {figures[MAIN.name].sd:.1%}")
        for arm, figures in result.arms.items()
    ]
    if result.teacher:
        tiles.append(Tile("teacher", f"{result.teacher[MAIN.name]:.1%}", "accuracy"))
    return tiles


def _verdicts(result: Result) -> Section:
    rows = [[sentence] for sentence in result.verdicts]
    text = "A difference that is not larger than the spread of the seeds may come out the other way with other seeds."
    return Section("Is it better?", text, [Table(["Accuracy, seed by seed"], rows)])


def _means(result: Result) -> Section:
    figures = result.figures()
    rows = [
        [arm, *(f"{f.shown(found[f.name].mean)} ± {f.shown(found[f.name].sd)}" for f in figures)]
        for arm, found in result.arms.items()
    ]
    if result.teacher is not None:
        known = result.teacher
        rows.append(["teacher", *(f.shown(known[f.name]) if f.name in known else "" for f in figures)])
    text = (
        "Mean ± standard deviation over the seeds. NLL and ECE (15 bins) are of the probabilities that are served, "
        "with the temperature each run fitted on its validation split, and at temperature 1."
    )
    numeric = frozenset(range(1, len(figures) + 1))
    return Section("Mean and spread", text, [Table(["", *(f.title for f in figures)], rows, numeric)])


def _differences(result: Result) -> Section:
    header = ["", "Figure", "Mean", "95 % from", "to", "Larger than the spread", "Interval without 0", "In favour of"]
    rows = [
        [f"{result.of} - {baseline}", *_difference_row(figure, result, baseline)]
        for baseline in result.differences
        for figure in result.figures()
    ]
    text = (
        "Runs of the same seed are compared with each other. The interval is Student's t of the mean difference; it "
        "says how well these seeds know the difference on these pictures, and nothing of other pictures."
    )
    return Section("Differences, seed by seed", text, [Table(header, rows, frozenset({2, 3, 4}))])


def _difference_row(figure: Figure, result: Result, baseline: str) -> list[str]:
    found = result.differences[baseline][figure.name]
    is_better = (found.mean > 0) == figure.more_is_better
    winner = result.of if is_better else baseline
    return [
        figure.title,
        figure.shown(found.mean, signed=True),
        figure.shown(found.low, signed=True),
        figure.shown(found.high, signed=True),
        "yes" if found.larger_than_spread else "no",
        "yes" if found.excludes_zero else "no",
        winner if found.larger_than_spread else "neither",
    ]


def _seeds(result: Result) -> Section:
    figures = result.figures()
    rows = [
        [arm, str(seed), *(figure.shown(found[figure.name].values[index]) for figure in figures)]
        for arm, found in result.arms.items()
        for index, seed in enumerate(result.seeds)
    ]
    numeric = frozenset(range(1, len(figures) + 2))
    seeds = [float(number) for number in range(1, len(result.seeds) + 1)]
    accuracy = {arm: (seeds, [100 * value for value in found[MAIN.name].values]) for arm, found in result.arms.items()}
    return Section(
        "Every seed",
        "",
        [
            Chart(line_chart(accuracy, "run", MAIN.title), "Accuracy of the runs, in the order of the seeds."),
            Table(["", "Seed", *(figure.title for figure in figures)], rows, numeric),
        ],
    )


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
    arms, baselines = list(result.arms), list(result.differences)
    header = ["Class", "Pictures", *arms, *(f"{result.of} - {baseline}" for baseline in baselines)]
    rows = [
        [
            one.label,
            str(one.pictures),
            *(MAIN.shown(one.recall[arm]) for arm in arms),
            *(MAIN.shown(one.change[baseline], signed=True) for baseline in baselines),
        ]
        for one in result.classes[:MOST_CLASSES]
    ]
    left = len(result.classes) - len(rows)
    more = f" The other {left} are in report.json." if left else ""
    text = f"Share recognised in %, mean over the seeds; the largest changes first.{more}"
    return Section("Class by class", text, [Table(header, rows, frozenset(range(1, len(header))))])
