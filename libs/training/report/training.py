"""Sections about the course of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.serving.bundle import Bundle
from libs.training.history import History
from libs.training.report.charts import Series, line_chart
from libs.training.report.page import Block, Chart, Section, Table, Tile

_NO_LOSS = {"accuracy", "lr", "loss"}
_FIGURES = {"accuracy", "balanced_accuracy", "nll", "ece", "brier"}


def course_section(history: History, chosen_step: int | None, figures: Sequence[Chart], unit: str) -> Section:
    """Curves of figures, loss terms, learning rate and speed.

    Args:
        figures: charts of what the training is for, shown first.
        unit: what an example is, as the reporter has it: `images`, `sequences`.
    """
    blocks: list[Block] = [
        *figures,
        Chart(
            line_chart(_select(history, "train/weighted/"), "step", "weighted loss", logarithmic=True),
            "Loss terms on training batches, times their weights: what is minimised",
        ),
        Chart(
            line_chart(_raw_losses(history, "train/"), "step", "raw loss", logarithmic=True),
            "Raw loss terms on training batches",
        ),
    ]
    if validation := _raw_losses(history, "val/"):
        blocks.append(
            Chart(
                line_chart(validation, "step", "raw loss", logarithmic=True), "Raw loss terms on the validation split"
            )
        )
    speed = {unit: _points(history, f"train/{unit}_per_s")}
    blocks += [
        Chart(line_chart({"lr": _points(history, "train/lr")}, "step", "learning rate"), "Learning rate"),
        Chart(line_chart(speed, "step", f"{unit} per second"), "Speed"),
    ]
    chosen = f"The weights kept are those of step {chosen_step}." if chosen_step is not None else ""
    return Section("Course of the training", chosen, blocks)


def accuracy_chart(history: History) -> Chart:
    """Training and validation accuracy, and that of any other head."""
    chosen = [name for name in history.names if name == "train/accuracy"]
    chosen += [name for name in history.names if name.startswith("val/") and name.endswith("accuracy")]
    labels = {name: name.replace("/", " ").replace("_", " ").removesuffix(" accuracy") for name in chosen}
    series = {labels[name]: _points(history, name) for name in chosen}
    return Chart(line_chart(series, "step", "accuracy"), "Accuracy")


def ranking_chart(history: History) -> Chart:
    """Figures of the full ranking on the validation split."""
    series = {name: points for name, points in _select(history, "val/").items() if "@" in name and "/" not in name}
    return Chart(line_chart(series, "step", "figure"), "Figures of the validation split, over the full ranking")


def bundle_tiles(bundle: Bundle) -> list[Tile]:
    """Size, speed and parity of what is served."""
    tiles = [Tile("Parameters", f"{bundle.parameters:,}", "served")]
    tiles += [
        Tile(f"{latency.batch_size} on one thread", f"{latency.p50_ms:.2f} ms", f"p90 {latency.p90_ms:.2f} ms")
        for latency in bundle.latency
    ]
    if bundle.parity is not None:
        verdict = "equal" if bundle.parity.passed else "DIFFERENT"
        tiles.append(Tile("ONNX and torch", verdict, f"within {bundle.parity.max_abs_diff:.1e}"))
    return tiles


def settings_section(settings: Mapping[str, Any]) -> Section:
    """Every setting with its value."""
    rows = [[name, "" if value is None else str(value)] for name, value in settings.items()]
    return Section("Settings", "", [Table(["setting", "value"], rows)])


def _points(history: History, name: str) -> tuple[list[float], list[float]]:
    points = history.series(name)
    return [float(point.step) for point in points], [point.value for point in points]


def _select(history: History, prefix: str) -> Series:
    names = [name for name in history.names if name.startswith(prefix)]
    return {name.removeprefix(prefix): _points(history, name) for name in names}


def _raw_losses(history: History, prefix: str) -> Series:
    """Loss terms under a prefix; weighted copies and figures that are no losses are left out."""
    skipped = _NO_LOSS | _FIGURES
    return {
        name: points
        for name, points in _select(history, prefix).items()
        if "/" not in name and "@" not in name and name not in skipped and not name.endswith(("_accuracy", "_per_s"))
    }


def history_json(history: History) -> dict[str, Any]:
    """Every series as steps and values."""
    return {
        name: {
            "step": [point.step for point in history.series(name)],
            "value": [point.value for point in history.series(name)],
        }
        for name in history.names
    }
