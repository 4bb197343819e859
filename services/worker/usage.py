"""What an attempt uses of its machine, as metrics of its job: `resources/…` over seconds since the job began."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import psutil

from services.worker.devices import Gpu

PREFIX = "resources/"
_SHARE = 0.01
"""Readings come at most every 1 % of the time an attempt has run: some 500 in ten hours."""
_ANSWER_WITHIN_S = 2.0
_MB = 1e6
_MIB_IN_MB = (1 << 20) / 1e6


class UsageMeter:
    """Reads, now and then, what a process and all it started use.

    `resources/cpu` in cores since the reading before, `resources/memory` in MB resident (what they share counts for
    each), and of the job's GPUs `resources/gpu`, their mean use in percent, and `resources/gpu_memory` in MB.
    """

    def __init__(self, pid: int, gpus: Sequence[Gpu], job_began: datetime | None, every_s: float) -> None:
        self._pid, self._gpus, self._every_s = pid, gpus, every_s
        self._before_s = max(0.0, (datetime.now(UTC) - job_began).total_seconds()) if job_began else 0.0
        self._began = self._last_read = time.monotonic()
        self._next = self._began + every_s
        self._cpu_s: dict[int, float] = {}

    def due(self) -> bool:
        """Whether it is time for a reading."""
        return time.monotonic() >= self._next

    def read(self) -> tuple[int, dict[str, float]]:
        """Seconds since the job began, and the figures by name; none when the process is gone."""
        now = time.monotonic()
        self._next = now + max(self._every_s, (now - self._began) * _SHARE)
        found = {**self._of_processes(now), **self._of_gpus()}
        return round(self._before_s + now - self._began), {f"{PREFIX}{name}": value for name, value in found.items()}

    def _of_processes(self, now: float) -> dict[str, float]:
        used_s, memory, spent = 0.0, 0.0, {}
        for process in self._family():
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                spent[process.pid] = times.user + times.system
                used_s += spent[process.pid] - self._cpu_s.get(process.pid, 0.0)
                memory += process.memory_info().rss
        if not memory:  # it has ended, and only its exit status is left
            return {}
        cores = max(0.0, used_s / max(now - self._last_read, 1e-3))
        self._cpu_s, self._last_read = spent, now
        return {"cpu": cores, "memory": memory / _MB}

    def _family(self) -> Iterator[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._pid)
            yield process
            yield from process.children(recursive=True)

    def _of_gpus(self) -> dict[str, float]:
        program = shutil.which("nvidia-smi") if self._gpus else None
        if program is None:
            return {}
        wanted = [f"--id={','.join(gpu.uuid for gpu in self._gpus)}", "--format=csv,noheader,nounits"]
        try:
            answer = subprocess.run(
                [program, "--query-gpu=utilization.gpu,memory.used", *wanted],
                capture_output=True,
                text=True,
                timeout=_ANSWER_WITHIN_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return {}
        return gpu_figures(answer.stdout)


def gpu_figures(answer: str) -> dict[str, float]:
    """Mean use and memory in all, of `nvidia-smi`'s lines "percent, MiB"; what a GPU does not tell is left out."""
    rows = [[part.strip() for part in line.split(",")] for line in answer.splitlines() if line.strip()]
    busy = [float(row[0]) for row in rows if row[0].isdigit()]
    memory = [float(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()]
    found = {"gpu": sum(busy) / len(busy)} if busy else {}
    return {**found, **({"gpu_memory": sum(memory) * _MIB_IN_MB} if memory else {})}
