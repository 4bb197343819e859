"""Stands in for `libs.training.checkpoint` in scripted children, whose state is plain: they start without torch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CheckpointFile:
    path: Path
    step: int
    digest: str
    size_bytes: int


def publish_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> CheckpointFile:
    content = json.dumps(dict(state)).encode()
    temporary = folder / "writing"
    temporary.write_bytes(content)
    path = folder / f"step-{step:010d}.ckpt"
    temporary.replace(path)
    return CheckpointFile(path, step, hashlib.sha256(content).hexdigest(), len(content))


def newest_checkpoint(folder: Path) -> Path | None:
    return max(folder.glob("step-*.ckpt"), default=None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(path.read_text())
    return state
