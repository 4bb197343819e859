"""The files of a report that programs read: JSON, CSV, TensorBoard events."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from libs.training.history import History


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Strict JSON, keys in the given order; figures that are not finite are the texts `NaN` and `Infinity`."""
    path.write_bytes(to_json(content, indent=1, inf_nan_mode="strings") + b"\n")


def write_metrics_csv(path: Path, history: History) -> None:
    """One row a value: name, step, value with all its digits."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["name", "step", "value"])
        for name in history.names:
            writer.writerows([name, point.step, repr(point.value)] for point in history.series(name))


def write_tensorboard(folder: Path, history: History) -> None:
    """Event files, one scalar a series."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), write_to_disk=True) as writer:
        for name in history.names:
            for point in history.series(name):
                writer.add_scalar(name, point.value, point.step)
