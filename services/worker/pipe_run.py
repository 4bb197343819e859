"""`Run` inside a child process: every call becomes a message to the supervisor."""

import fcntl
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import FrameType
from typing import Any

from pydantic import BaseModel

from libs.training.run import LogLevel, StopReason
from services.worker.attempt_folder import AttemptFolder
from services.worker.messages import (
    AttemptOrder,
    CheckpointSaved,
    Logged,
    MetricReported,
    PhaseEnded,
    ProcessLogged,
    ProgressReported,
)

_LONGEST_MESSAGE = 16_000
_LONGEST_NAME = 100


class MessagePipe:
    """Writes messages to the supervisor, whole lines only, from any thread and any rank."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY)
        self._lock = Lock()

    def send(self, message: BaseModel) -> None:
        """Write one message; blocks while the supervisor is behind."""
        line = message.model_dump_json().encode() + b"\n"
        with self._lock:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class ChildLog:
    """The log of this process: its supervisor writes the lines among its own (`services.worker.child_logs`)."""

    def __init__(self, pipe: MessagePipe) -> None:
        self._pipe = pipe
        self._rank = int(os.environ.get("RANK", "0"))

    def write(self, event: str, level: LogLevel = "info", **fields: Any) -> None:
        """One line."""
        self._pipe.send(ProcessLogged(event=event, level=level, pid=os.getpid(), rank=self._rank, fields=fields))


class Phases:
    """The parts of a run, one after the other, told to the supervisor where it wants to know."""

    def __init__(self, pipe: MessagePipe, wanted: bool) -> None:
        self._pipe = pipe
        self._wanted = wanted
        self._name = ""
        self._began_ns = 0

    def enter(self, name: str) -> None:
        """The part that was at hand is over unless it goes on, and another one begins; empty: none does."""
        name = name[:_LONGEST_NAME]
        if name == self._name or not self._wanted:
            return
        now_ns = time.time_ns()
        if self._name:
            self._pipe.send(PhaseEnded(name=self._name, began_ns=self._began_ns, ended_ns=now_ns))
        self._name, self._began_ns = name, now_ns

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Something that happens in the middle of a part."""
        began_ns = time.time_ns()
        try:
            yield
        finally:
            if self._wanted:
                self._pipe.send(PhaseEnded(name=name, began_ns=began_ns, ended_ns=time.time_ns()))


class PipeRun:
    """The run of this process; under torchrun only rank 0 reports and saves."""

    def __init__(self, folder: AttemptFolder, order: AttemptOrder, pipe: MessagePipe, phases: Phases) -> None:
        self.seed = order.seed
        self.device = _device_of_rank(order)
        self.folder = folder.files
        self._attempt = folder
        self._resume_from = order.resume_from
        self._pipe = pipe
        self._phases = phases
        self._is_main = int(os.environ.get("RANK", "0")) == 0
        self._stop_reason: StopReason | None = None
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def metric(self, name: str, value: float, step: int) -> None:
        """Report one number."""
        self._send(MetricReported(name=name, value=float(value), step=int(step)))

    def progress(self, fraction: float, note: str = "") -> None:
        """Report how far the run is, 0 to 1."""
        self._phases.enter(_words(note) or "run")
        self._send(ProgressReported(fraction=min(max(float(fraction), 0.0), 1.0), note=note[:500]))

    def log(self, message: str, level: LogLevel = "info", **fields: Any) -> None:
        """Report one line for people."""
        self._send(Logged(level=level, message=message[:_LONGEST_MESSAGE], fields=fields))

    def stop_reason(self) -> StopReason | None:
        """Why the run should stop now, or None: told by the supervisor's file, which torchrun's ranks see too."""
        if self._stop_reason is None:
            self._stop_reason = self._attempt.read_stop()
        return self._stop_reason

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Publish a checkpoint file and tell the supervisor.

        Raises:
            CheckpointError: it could not be written; the one before stays valid.
        """
        if not self._is_main:
            return
        from libs.training.checkpoint import publish_checkpoint  # torch, which validation jobs do without

        with self._phases.within("checkpoint"):
            saved = publish_checkpoint(self._attempt.checkpoints, step, state)
        self._send(CheckpointSaved(step=step, path=saved.path, digest=saved.digest, size_bytes=saved.size_bytes))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest state: this attempt's own, else the one it was started from."""
        from libs.training.checkpoint import newest_checkpoint, read_checkpoint

        path = newest_checkpoint(self._attempt.checkpoints) or self._resume_from
        return read_checkpoint(path) if path else None

    def _send(self, message: BaseModel) -> None:
        if self._is_main:
            self._pipe.send(message)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """A SIGTERM from elsewhere: the machine goes down."""
        self._stop_reason = self._attempt.read_stop() or "shutdown"


def _words(note: str) -> str:
    """What a note says before its first figure: `epoch 1.5, step 12/80` is the part `epoch`, `exporting` is itself."""
    return re.split(r"\d", note, maxsplit=1)[0].strip(" ,:")


def _device_of_rank(order: AttemptOrder) -> str:
    """CUDA_VISIBLE_DEVICES holds this job's GPUs only, so a rank's GPU is its local rank."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if order.device.startswith("cuda") else order.device
