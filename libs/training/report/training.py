"""Sections about the course of a training."""

from collections.abc import Mapping
from typing import Any

from libs.training.history import History
from libs.training.report.charts import Series, line_chart
from libs.training.report.page import Block, Chart, Section, Table

_NO_LOSS = {"accuracy", "lr", "images_per_s", "loss"}
_FIGURES = {"accuracy", "balanced_accuracy", "nll", "ece", "brier"}


def course_section(history: History, chosen_step: int | None) -> Section:
    """Curves of accuracy, loss terms, learning rate and speed."""
    blocks: list[Block] = [
        Chart(line_chart(_accuracies(history), "step", "accuracy"), "Accuracy"),
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
    blocks += [
        Chart(line_chart({"lr": _points(history, "train/lr")}, "step", "learning rate"), "Learning rate"),
        Chart(line_chart({"pictures": _points(history, "train/images_per_s")}, "step", "pictures per second"), "Speed"),
    ]
    chosen = f"The weights kept are those of step {chosen_step}." if chosen_step is not None else ""
    return Section("Course of the training", chosen, blocks)


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


def _accuracies(history: History) -> Series:
    """Training and validation accuracy, and that of any other head."""
    chosen = [name for name in history.names if name == "train/accuracy"]
    chosen += [name for name in history.names if name.startswith("val/") and name.endswith("accuracy")]
    labels = {name: name.replace("/", " ").replace("_", " ").removesuffix(" accuracy") for name in chosen}
    return {labels[name]: _points(history, name) for name in chosen}


def _raw_losses(history: History, prefix: str) -> Series:
    """Loss terms under a prefix; weighted copies and figures that are no losses are left out."""
    skipped = _NO_LOSS | _FIGURES
    return {
        name: points
        for name, points in _select(history, prefix).items()
        if "/" not in name and name not in skipped and not name.endswith("_accuracy")
    }
