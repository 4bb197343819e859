"""A `Run` for measurements: nobody listens, and nothing is imported for it (`LocalRun` brings torch)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class QuietRun:
    """A `Run` that listens to nothing."""

    seed, device = 0, "cpu"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def metric(self, name: str, value: float, step: int) -> None: ...
    def progress(self, fraction: float, note: str = "") -> None: ...
    def log(self, message: str, level: str = "info", **fields: Any) -> None: ...
    def stop_reason(self) -> None: ...
    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None: ...
    def load_checkpoint(self) -> None: ...
