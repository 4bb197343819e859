"""Checkpoint files: complete or absent, digested, and readable without unpickling code.

`publish_checkpoint` writes to a temporary name, forces the bytes to disk and renames. A name carries the step and
the first digits of the SHA-256, so a file tells by itself whether it is whole. The newest two are kept: the
older one may still be on its way to a store.
"""

import hashlib
import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor
from typing_extensions import Buffer

from libs.durable import sync_folder
from libs.training.run import CheckpointError

KEPT_CHECKPOINTS = 2
_NAME = re.compile(r"step-(\d{10})-([0-9a-f]{16})\.ckpt")


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A published checkpoint."""

    path: Path
    step: int
    digest: str
    size_bytes: int


class _DigestingFile(io.RawIOBase):
    """Passes bytes on to a file and digests them; torch.save writes front to back."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        self.failure: OSError | None = None

    def write(self, data: Buffer) -> int:
        try:
            self._stream.write(data)
        except OSError as error:
            self.failure = error  # torch's zip writer would hide it behind a failure of its own
            raise
        self.sha256.update(data)
        length = memoryview(data).nbytes
        self.size_bytes += length
        return length

    def flush(self) -> None:
        self._stream.flush()


def publish_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> CheckpointFile:
    """Write `state` (tensors and plain values) as the checkpoint of `step`, all or nothing.

    Raises:
        TypeError: the state holds something that could not be read back safely.
        CheckpointError: it could not be written; the checkpoint before it, if any, stays valid.
    """
    _require_plain(state, "state")
    temporary = folder / f".writing-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = _write(temporary, state)
        digest = written.sha256.hexdigest()
        path = folder / f"step-{step:010d}-{digest[:16]}.ckpt"
        temporary.replace(path)
        sync_folder(folder)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(_failure(folder, step, error)) from error
    _forget_old(folder)
    return CheckpointFile(path, step, digest, written.size_bytes)


def _write(path: Path, state: Mapping[str, Any]) -> _DigestingFile:
    with path.open("wb") as stream:
        target = _DigestingFile(stream)
        try:
            torch.save(dict(state), cast("IO[bytes]", target))
        except RuntimeError as error:
            raise target.failure or error from error
        stream.flush()
        os.fsync(stream.fileno())
    return target


def _failure(folder: Path, step: int, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
    before = newest_checkpoint(folder)
    valid = f"{before.name} stays valid" if before else "there is none before it"
    return f"the checkpoint of step {step} could not be written ({reason}); {valid}"


def _forget_old(folder: Path) -> None:
    for path in _published(folder)[:-KEPT_CHECKPOINTS]:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _published(folder: Path) -> list[Path]:
    """Checkpoints by rising step."""
    found = [path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step in the folder, or None."""
    return next(reversed(_published(folder)), None)


def read_checkpoint(path: Path, digest: str | None = None) -> dict[str, Any]:
    """The state of a checkpoint file, tensors on the CPU.

    Args:
        digest: SHA-256 (hex) it must have; the digits in its own name are checked in any case.

    Raises:
        CheckpointError: missing, damaged, or not a checkpoint.
    """
    name = _NAME.fullmatch(path.name)
    expected = digest or (name[2] if name else "")
    try:
        with path.open("rb") as stream:
            _check_digest(path, stream, expected)
            state: dict[str, Any] = torch.load(stream, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a foreign file makes the reader raise nearly anything
        raise CheckpointError(f"{path.name} cannot be read as a checkpoint: {error}") from error
    return state


def _check_digest(path: Path, stream: io.BufferedReader, expected: str) -> None:
    actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if not actual.startswith(expected):
        raise CheckpointError(f"{path.name} is damaged: SHA-256 {actual[:16]}, expected {expected[:16]}")
    stream.seek(0)


def _require_plain(value: Any, where: str) -> None:
    """Reject what `torch.load(weights_only=True)` would refuse, while it can still be said where it is."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _require_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        if not all(isinstance(inner, int | float | str | bool | None) for inner in value):
            for position, inner in enumerate(value):
                _require_plain(inner, f"{where}[{position}]")
    elif type(value) not in (int, float, str, bool, bytes, type(None)) and not isinstance(value, Tensor):
        raise TypeError(f"{where} is a {type(value).__name__}: a checkpoint holds tensors and plain values only")
