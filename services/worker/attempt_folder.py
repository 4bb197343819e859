"""The folder of one attempt: all that the supervisor and the child process share.

    order.json     what the child is asked to do
    messages       FIFO from the child: one JSON object a line (services.worker.messages)
    alive          FIFO nobody writes to: the child reads it and ends at its end, that is, with the supervisor
    stop           why the child should stop, written when it should
    files/         the run's own scratch folder
    checkpoints/   published checkpoints

FIFOs rather than inherited descriptors: torchrun closes those of its ranks.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from libs.training.run import StopReason
from services.worker.messages import AttemptOrder

_STOP_REASONS: dict[str, StopReason] = {
    "cancel": "cancel",
    "pause": "pause",
    "timeout": "timeout",
    "shutdown": "shutdown",
}


class AttemptFolder:
    """Paths and files of an attempt; `make` before the child is started, `remove` when it is over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.order_file = path / "order.json"
        self.messages = path / "messages"
        self.alive = path / "alive"
        self.stop_file = path / "stop"
        self.files = path / "files"
        self.checkpoints = path / "checkpoints"

    def make(self) -> None:
        """An empty folder; what a crashed attempt left in it is removed."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, mode=0o700)
        self.files.mkdir()
        self.checkpoints.mkdir()
        os.mkfifo(self.messages, 0o600)
        os.mkfifo(self.alive, 0o600)

    def remove(self) -> None:
        """Delete everything, and the job's folder when this was its last attempt here."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def write_order(self, order: AttemptOrder) -> None:
        self.order_file.write_text(order.model_dump_json())

    def read_order(self) -> AttemptOrder:
        return AttemptOrder.model_validate_json(self.order_file.read_text())

    def write_stop(self, reason: StopReason) -> None:
        """Replaced in one step: the child never reads half a word."""
        temporary = self.stop_file.with_suffix(".new")
        temporary.write_text(reason)
        temporary.replace(self.stop_file)

    def read_stop(self) -> StopReason | None:
        """Why the child should stop, or None; a system call or two, cheap enough for every step."""
        try:
            found = self.stop_file.read_text()
        except FileNotFoundError:
            return None
        reason: StopReason = _STOP_REASONS[found]
        return reason
