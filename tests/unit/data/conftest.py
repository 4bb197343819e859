"""A run that remembers what it was told, and makers of small uploads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from libs.data.config import ValidationConfig
from libs.data.validate import run as validate
from libs.training.run import Inputs, LogLevel, Outcome, StopReason


class RecordingRun:
    """A `Run` in memory.

    Attributes:
        fractions: progress as reported.
        stop_after: how often it may be asked before it says cancel; None: never.
    """

    def __init__(self, folder: Path, stop_after: int | None = None) -> None:
        self.seed = 0
        self.device = "cpu"
        self.folder = folder
        self.fractions: list[float] = []
        self.stop_after = stop_after
        self._asked = 0

    def metric(self, name: str, value: float, step: int) -> None:
        raise AssertionError("validation reports no metrics")

    def progress(self, fraction: float, note: str = "") -> None:
        self.fractions.append(fraction)

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        raise AssertionError("validation logs nothing")

    def stop_reason(self) -> StopReason | None:
        self._asked += 1
        return "cancel" if self.stop_after is not None and self._asked > self.stop_after else None

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        raise AssertionError("validation has no checkpoints")

    def load_checkpoint(self) -> dict[str, Any] | None:
        return None


@pytest.fixture
def recording_run(tmp_path: Path) -> RecordingRun:
    folder = tmp_path / "run"
    folder.mkdir()
    return RecordingRun(folder)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[[bytes, str], Path]:
    """Lay bytes down as the supervisor does: `upload` and `upload.name`."""

    def lay_down(content: bytes, name: str) -> Path:
        folder = tmp_path / "input"
        folder.mkdir(exist_ok=True)
        (folder / "upload").write_bytes(content)
        (folder / "upload.name").write_text(name, encoding="utf-8")
        return folder

    return lay_down


@pytest.fixture
def validated(recording_run: RecordingRun) -> Callable[..., Outcome]:
    """Validate a folder with options of `ValidationConfig`."""

    def run(folder: Path, **options: Any) -> Outcome:
        return validate(ValidationConfig(**options), Inputs(datasets={"upload": folder}), recording_run)

    return run


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of class folders with different random pictures."""

    def make(layout: Mapping[str, int], side: int = 16, mode: str = "RGB", suffix: str = ".png") -> Path:
        root = tmp_path / "pictures"
        rng = np.random.default_rng(len(layout))
        for folder, count in layout.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / folder / f"{number}{suffix}")
        return root

    return make
