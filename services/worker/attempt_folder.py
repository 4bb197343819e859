"""The folder of one attempt: all that the supervisor and the child process share.

    order.json     what the child is asked to do
    messages       FIFO from the child: one JSON object a line (services.worker.messages)
    alive          FIFO nobody writes to: the child reads it and ends at its end, that is, with the supervisor
    stop           why the child should stop, written when it should
    files/         the run's own scratch folder
    checkpoints/   published checkpoints

FIFOs rather than inherited descriptors: torchrun closes those of its ranks. Beside the folder lies `EPOCH.lock`, which
the supervisor holds as long as it lives: what a killed worker left behind is known by a lock that nobody holds.
"""

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

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
        self._lock: IO[bytes] | None = None

    def make(self) -> None:
        """An empty folder, ours until `remove`.

        Raises:
            OSError: the disk is full, say.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _held(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)
        self.files.mkdir()
        self.checkpoints.mkdir()
        os.mkfifo(self.messages, 0o600)
        os.mkfifo(self.alive, 0o600)

    def remove(self) -> None:
        """Delete everything, and the job's folder when this was its last attempt here."""
        _remove(self.path)
        if self._lock is not None:
            self._lock.close()

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


def remove_abandoned(attempts: Path) -> int:
    """Delete what workers that were killed left below `attempts` (`JOB/EPOCH`); how many folders that were."""
    removed = 0
    for path in attempts.glob("*/*/"):
        with suppress(OSError), _held(path):
            _remove(path)
            removed += 1
    return removed


def _held(path: Path) -> IO[bytes]:
    """The lock of an attempt's folder, held until it is closed or this process ends.

    Raises:
        BlockingIOError: a living worker holds it.
    """
    lock = _lock_of(path).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise
    return lock


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    _lock_of(path).unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()
