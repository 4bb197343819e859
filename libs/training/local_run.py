"""A run without the platform: for notebooks, scripts and tests."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from libs.training.checkpoint import newest_checkpoint, publish_checkpoint, read_checkpoint
from libs.training.run import LogLevel, StopReason

_STYLES: dict[LogLevel, str] = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}


class LocalRun:
    """Keeps checkpoints and figures in a folder and draws a progress bar.

        run = LocalRun(Path("runs/digits"), seed=1)
        with run:
            outcome = train(SupervisedConfig(epochs=5), Inputs({"train": folder}), run)

    A second run in the same folder continues from the newest checkpoint.

    Attributes:
        metrics: every reported figure, in order: (name, value, step).
    """

    def __init__(self, folder: Path, seed: int = 0, device: str = "cpu", *, quiet: bool = False) -> None:
        self.folder = folder
        self.seed = seed
        self.device = device
        self.metrics: list[tuple[str, float, int]] = []
        self._stop: StopReason | None = None
        self._console = Console(quiet=quiet, stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=quiet,
        )
        self._task = self._bar.add_task("starting", total=1.0)
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoint files."""
        return self.folder / "checkpoints"

    def metric(self, name: str, value: float, step: int) -> None:
        """Keep one figure."""
        self.metrics.append((name, value, step))

    def latest(self, name: str) -> float:
        """The last value reported under a name; NaN if there is none."""
        return next((value for key, value, _ in reversed(self.metrics) if key == name), math.nan)

    def progress(self, fraction: float, note: str = "") -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=fraction, description=note)

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        """Print a line above the bar."""
        if level != "debug":
            details = "  ".join(f"{key}={value}" for key, value in fields.items())
            self._console.print(
                f"{message}  {details}".rstrip(), style=_STYLES[level] or None, highlight=False, markup=False
            )

    def request_stop(self, reason: StopReason) -> None:
        """Make the run stop at its next step; callable from another thread or a signal handler."""
        self._stop = reason

    def stop_reason(self) -> StopReason | None:
        """What `request_stop` was told."""
        return self._stop

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Publish a checkpoint file; see `libs.training.checkpoint`."""
        publish_checkpoint(self.checkpoints, step, state)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint of this folder, or None."""
        newest = newest_checkpoint(self.checkpoints)
        return read_checkpoint(newest) if newest else None
