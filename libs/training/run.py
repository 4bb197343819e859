"""How a method talks to whatever runs it: a worker's child process, a notebook, a test.

A method never sees the platform. It gets a `Run`, calls it, and returns an `Outcome`.
Importable without torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

StopReason = Literal["cancel", "pause", "timeout", "shutdown"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Stopped(Exception):
    """The run was asked to stop; its last checkpoint has been saved."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(f"stopped: {reason}")
        self.reason = reason


class Run(Protocol):
    """What a method may ask of its surroundings.

    Attributes:
        seed: all randomness of the run derives from it.
        device: torch device string, `cpu` or `cuda:N`; under torchrun the one of this rank.
        folder: scratch folder of this attempt; the outcome's files are written below it.
    """

    seed: int
    device: str
    folder: Path

    def metric(self, name: str, value: float, step: int) -> None:
        """Report one number; `name` like `train/loss` or `val/accuracy`, `step` the optimiser step."""

    def progress(self, fraction: float, note: str = "") -> None:
        """Report how far the run is, 0 to 1, and what it does now."""

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        """Report one line for people, with structured fields."""

    def stop_reason(self) -> StopReason | None:
        """Why the run should stop now, or None. Cheap: ask it every step."""

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Publish `state` (tensors and plain values) as the checkpoint of `step`, all or nothing.

        Raises:
            CheckpointError: it could not be written (disk full, say); the one before stays valid.
        """

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest published state of this job, or None on a first attempt."""


class CheckpointError(OSError):
    """A checkpoint could not be written or read; the message says why and which one is still valid."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run leaves behind. Paths lie below `Run.folder`.

    Attributes:
        metrics: final figures, `split/name` → value.
        bundle: folder of a served model (`libs.serving.bundle`), if the run made one.
        report: folder with `report.html`, `report.json`, `metrics.csv` and pictures, if it made one.
        files: further files to keep, name → path.
        dataset: folder of a validated data set (`libs.data.manifest`), for validation runs.
        details: anything else worth a row, JSON values only.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    bundle: Path | None = None
    report: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    dataset: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Local folders a run reads from, made ready before it starts.

    Attributes:
        datasets: role (`train`, `source` …) → folder of a validated data set, or of a raw upload for validation.
        models: role (`init`, `teacher`, `model`) → folder of a model bundle.
    """

    datasets: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, Path] = field(default_factory=dict)
