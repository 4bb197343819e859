"""Tiny data sets and a run that remembers what it was told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.data.write import write_arrays_dataset
from libs.training.run import StopReason


@dataclass
class RememberingRun:
    folder: Path
    seed: int = 0
    device: str = "cpu"
    metrics: dict[str, float] = field(default_factory=dict)
    fractions: list[float] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    stop_after: int | None = None

    def metric(self, name: str, value: float, step: int) -> None:
        self.metrics[name] = value

    def progress(self, fraction: float, note: str = "") -> None:
        self.fractions.append(fraction)

    def log(self, message: str, level: str = "info", **fields: Any) -> None:
        self.logged.append(message)

    def stop_reason(self) -> StopReason | None:
        return "cancel" if self.stop_after is not None and len(self.fractions) >= self.stop_after else None

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        raise AssertionError("nothing to save")

    def load_checkpoint(self) -> dict[str, Any] | None:
        return None


@pytest.fixture
def remembering_run(tmp_path: Path) -> RememberingRun:
    folder = tmp_path / "attempt"
    folder.mkdir()
    return RememberingRun(folder)


@pytest.fixture
def shades(tmp_path: Path) -> Callable[..., Path]:
    """Write a data set of even grey pictures: values [N] and labels [N], all in the split `test`."""

    def write(values: list[int], labels: list[int] | None, classes: list[str], channels: int = 1) -> Path:
        folder = tmp_path / "shades"
        pixels = np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), 8, 8, channels))
        given = None if labels is None else np.array(labels)
        write_arrays_dataset(folder, np.ascontiguousarray(pixels), given, classes, ["test"] * len(values))
        return folder

    return write
