"""What the report of every comparison shows, and its files."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from libs.training.comparison.arms import Arms
from libs.training.comparison.statistics import Figure
from libs.training.report.charts import line_chart
from libs.training.report.files import write_json
from libs.training.report.page import Chart, Section, Table, Tile


def tiles(arms: Arms) -> list[Tile]:
    """The main figure of each."""
    main = arms.main
    unit = "%" if main.is_share else ""
    label = main.title.removesuffix(" %")
    trained = [
        Tile(arm, f"{main.shown(of[main.name].mean)}{unit}", f"{label}, sd {main.shown(of[main.name].sd)}{unit}")
        for arm, of in arms.arms.items()
    ]
    once = [
        Tile(who, f"{main.shown(of[main.name])}{unit}", label) for who, of in arms.beside.items() if main.name in of
    ]
    return [*trained, *once]


def verdicts_section(arms: Arms, text: str, further: Sequence[Table] = ()) -> Section:
    """A plain answer for each baseline."""
    name = arms.main.title.removesuffix(" %")
    rows = [[sentence] for sentence in arms.verdicts]
    warned = (
        f"{text} A difference that is not larger than the spread of the seeds may come out the other way with other "
        "seeds."
    )
    return Section("Is it better?", warned.strip(), [Table([f"{name}, seed by seed"], rows), *further])


def means_section(arms: Arms, text: str) -> Section:
    """Every figure of each: a row a figure, a column each."""
    header = ["", *arms.arms, *arms.beside]
    rows = [
        [
            one.title,
            *(f"{one.shown(of[one.name].mean)} ± {one.shown(of[one.name].sd)}" for of in arms.arms.values()),
            *(one.shown(of[one.name]) if one.name in of else "" for of in arms.beside.values()),
        ]
        for one in arms.figures
    ]
    table = Table(header, rows, frozenset(range(1, len(header))))
    return Section("Mean and spread", f"Mean ± standard deviation over the seeds. {text}", [table])


def differences_section(arms: Arms, text: str) -> Section:
    """Every figure of the method less that of each baseline."""
    header = ["", "Figure", "Mean", "95 % from", "to", "Larger than the spread", "Interval without 0", "In favour of"]
    rows = [
        [f"{arms.of} - {baseline}", *_difference_row(figure, arms, baseline)]
        for baseline in arms.differences
        for figure in arms.figures
    ]
    said = (
        "Runs of the same seed are compared with each other. The interval is Student's t of the mean difference; it "
        f"says how well these seeds know the difference {text}."
    )
    return Section("Differences, seed by seed", said, [Table(header, rows, frozenset({2, 3, 4}))])


def _difference_row(figure: Figure, arms: Arms, baseline: str) -> list[str]:
    found = arms.differences[baseline][figure.name]
    is_better = (found.mean > 0) == figure.more_is_better
    return [
        figure.title,
        figure.shown(found.mean, signed=True),
        figure.shown(found.low, signed=True),
        figure.shown(found.high, signed=True),
        "yes" if found.larger_than_spread else "no",
        "yes" if found.excludes_zero else "no",
        (arms.of if is_better else baseline) if found.larger_than_spread else "neither",
    ]


def seeds_section(arms: Arms) -> Section:
    """What each run came to."""
    main, figures = arms.main, arms.figures
    rows = [
        [arm, str(seed), *(figure.shown(found[figure.name].values[index]) for figure in figures)]
        for arm, found in arms.arms.items()
        for index, seed in enumerate(arms.seeds)
    ]
    numbers = [float(number) for number in range(1, len(arms.seeds) + 1)]
    scale = 100 if main.is_share else 1
    drawn = {arm: (numbers, [scale * value for value in found[main.name].values]) for arm, found in arms.arms.items()}
    name = main.title.removesuffix(" %")
    return Section(
        "Every seed",
        "",
        [
            Chart(line_chart(drawn, "run", main.title), f"{name} of the runs, in the order of the seeds."),
            Table(["", "Seed", *(one.title for one in figures)], rows, frozenset(range(1, len(figures) + 2))),
        ],
    )


def write_files(folder: Path, page: str, content: Mapping[str, Any], arms: Arms) -> None:
    """Write `report.html`, `report.json` and `metrics.csv` (a row for each run and figure)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(page, encoding="utf-8")
    write_json(folder / "report.json", content)
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["arm", "seed", "name", "value"])
        for arm, figures in arms.arms.items():
            for name, one in figures.items():
                writer.writerows(
                    [arm, seed, name, repr(value)] for seed, value in zip(arms.seeds, one.values, strict=True)
                )
