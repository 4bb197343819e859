"""The command line and the environment of a child process."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from services.worker.devices import Assignment

_SECRET = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|PRIVATE|DSN|DATABASE|BROKER|REDIS", re.IGNORECASE)
_SECRET_PREFIXES = ("OTEL_", "AWS_", "PG", "CELERY_", "AZURE_", "GOOGLE_", "GCP_")


class Launcher(Protocol):
    """How an attempt folder becomes a command."""

    def __call__(self, folder: Path, processes: int) -> Sequence[str]:
        """The command that runs the attempt in `folder`."""


def python_child(folder: Path, processes: int) -> Sequence[str]:
    """`services.worker.child`, under torchrun when it takes several processes."""
    child = ["-m", "services.worker.child", str(folder)]
    if processes == 1:
        return [sys.executable, *child]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *child]


def child_environment(ours: Mapping[str, str], assignment: Assignment, slots: int) -> dict[str, str]:
    """Our environment without anything that opens a door, with this job's devices and share of the cores."""
    kept = {name: value for name, value in ours.items() if not is_secret(name)}
    threads = str(max(1, (os.cpu_count() or 1) // (slots * assignment.processes)))
    return {
        "OMP_NUM_THREADS": threads,
        # Idle threads sleep: spinning ones make a step ten times slower where jobs share the cores.
        "OMP_WAIT_POLICY": "passive",
        # A step frees tensors of tens of MB and takes them again: kept, their pages are not zeroed by the kernel anew.
        "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
        **kept,
        **assignment.environment(),
        "PYTHONUNBUFFERED": "1",
    }


def is_secret(name: str) -> bool:
    """Whether a variable may hold a credential."""
    return name.startswith(_SECRET_PREFIXES) or _SECRET.search(name) is not None
