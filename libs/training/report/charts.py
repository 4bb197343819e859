"""Charts as inline SVG that follow the page's light or dark colours.

Matplotlib draws with placeholder colours; each is then replaced by the page's CSS variable.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from libs.training.report.pictures import HEAT

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Name → (x, y)."""

_INK, _LINE = "#fe00f0", "#fe00f1"
_SERIES = [f"#fe00{number:02x}" for number in range(1, 9)]
_VARIABLES = {_INK: "var(--soft)", _LINE: "var(--line)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "octavo",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _LINE,
}
_GROUP_LINE = "#8fd3ff"
_MOST_MARKED_POINTS = 40


def line_chart(
    series: Series, x_label: str, y_label: str, *, logarithmic: bool = False, logarithmic_x: bool = False
) -> Markup:
    """One line a series; short ones with a mark at each point.

    Args:
        logarithmic: the y axis is, if every value is positive.
        logarithmic_x: the x axis is; every value must be positive.
    """
    figure, axes = _axes()
    for number, (name, (x, y)) in enumerate(series.items()):
        marker = "o" if len(x) <= _MOST_MARKED_POINTS else None
        dashes = "-" if number < len(_SERIES) else "--"
        colour = _SERIES[number % len(_SERIES)]
        axes.plot(x, y, dashes, color=colour, label=name, linewidth=1.6, marker=marker, markersize=2.5)
    if logarithmic and all(value > 0 for _, values in series.values() for value in values):
        axes.set_yscale("log")
    if logarithmic_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if len(series) > 1:
        _legend(axes, "best", columns=2 if len(series) > 4 else 1)
    return _svg(figure, f"{y_label} over {x_label}: {', '.join(series)}")


def reliability_chart(
    confidence: NDArray[np.float64], accuracy: NDArray[np.float64], pictures: NDArray[np.int64], name: str
) -> Markup:
    """Accuracy over confidence by bin, the diagonal, and how many pictures each bin holds."""
    figure, axes = _axes()
    filled = pictures > 0
    centres = (np.arange(len(pictures)) + 0.5) / len(pictures)
    axes.plot([0, 1], [0, 1], "--", color=_INK, linewidth=1)
    axes.bar(centres, pictures / pictures.sum(), 0.9 / len(pictures), color=_SERIES[7], alpha=0.35, label="pictures")
    axes.plot(
        confidence[filled], accuracy[filled], "o-", color=_SERIES[0], linewidth=1.6, markersize=4, label="accuracy"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share")
    _legend(axes, "upper left")
    return _svg(figure, f"reliability diagram {name}")


def grouped_bar_chart(bars: Mapping[str, Sequence[float]], groups: Sequence[str], x_label: str, y_label: str) -> Markup:
    """Bars of several series side by side.

    Args:
        bars: series → one value a group.
        groups: what stands below each group of bars.
    """
    figure, axes = _axes()
    width = 0.8 / max(1, len(bars))
    for number, (name, values) in enumerate(bars.items()):
        places = np.arange(len(groups)) + (number - (len(bars) - 1) / 2) * width
        axes.bar(places, values, 0.92 * width, color=_SERIES[number % len(_SERIES)], label=name)
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(visible=False, axis="x")
    if len(bars) > 1:
        _legend(axes, "best")
    return _svg(figure, f"{y_label} by {x_label}: {', '.join(bars)}")


def heat_chart(
    values: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    row_groups: Sequence[int],
    column_groups: Sequence[int],
    meaning: str,
) -> Markup:
    """A matrix as shaded cells, row 0 at the top, dark for 0.

    Args:
        values: [rows, columns], at least 0.
        row_groups: positions before which a line is drawn across.
        column_groups: positions before which a line is drawn down.
        meaning: what the values are.
    """
    tall, wide = len(rows), len(columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(2.4 + 0.3 * wide, 1.5 + 0.24 * tall), layout="constrained")
        axes = figure.add_subplot()
        colours = LinearSegmentedColormap.from_list("heat", HEAT / 255)
        cells = axes.pcolormesh(values, cmap=colours, vmin=0, vmax=max(float(values.max()), 1e-12), linewidth=0)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(tall) + 0.5, rows, fontsize=7)
        axes.set_xticks(np.arange(wide) + 0.5, columns, fontsize=7, rotation=90)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for place in row_groups:
            axes.axhline(place, color=_GROUP_LINE, linewidth=1.4)
        for place in column_groups:
            axes.axvline(place, color=_GROUP_LINE, linewidth=1.4)
        bar = figure.colorbar(cells, ax=axes, label=meaning)
        bar.outline.set_visible(False)
    return _svg(figure, f"{meaning}: {tall} rows by {wide} columns")


def _axes() -> tuple[Figure, Axes]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.1), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: Axes, location: Literal["best", "upper left"], columns: int = 1) -> None:
    axes.legend(loc=location, ncols=columns, fontsize=8, frameon=False, labelcolor=_INK)


def _svg(figure: Figure, description: str) -> Markup:
    """The figure as an SVG element with a description for screen readers."""
    stream = io.StringIO()
    with rc_context(_STYLE):
        figure.patch.set_alpha(0)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        element = element.replace(colour, variable)
    label = Markup('<svg role="img" aria-label="{}"').format(description)
    return Markup(label + Markup(element.removeprefix("<svg")))  # noqa: S704  # drawn here, from escaped text
