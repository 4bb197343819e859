"""What an attempt uses of its machine, as metrics of its job: `resources/…` over seconds since the job began."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from threading import Event

import psutil
import structlog

from libs.background import thread_of_this_context
from services.worker.devices import Gpu

log = structlog.get_logger()
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
        self._cpu_s: dict[int, float] = {}

    @contextlib.contextmanager
    def told(self, tell: Callable[[int, Mapping[str, float]], None]) -> Iterator[None]:
        """Tell each reading while the block lasts, from a thread that nobody waits for.

        A driver that hangs keeps `nvidia-smi` from ending even when it is killed: that holds up this thread and nothing
        else. A reading that fails is logged, and the next one tried.
        """
        over = Event()
        thread_of_this_context(lambda: self._tell(tell, over), f"octavo-usage-{self._pid}").start()
        try:
            yield
        finally:
            over.set()

    def _tell(self, tell: Callable[[int, Mapping[str, float]], None], over: Event) -> None:
        while not over.wait(max(self._every_s, (time.monotonic() - self._began) * _SHARE)):
            try:
                step, found = self.read()
            except Exception as error:  # open files run out, say: no reason to end a training
                log.warning("usage_not_read", error=f"{type(error).__name__}: {error}")
                continue
            if not over.is_set():
                tell(step, found)

    def read(self) -> tuple[int, dict[str, float]]:
        """Seconds since the job began, and the figures by name; none when the process is gone."""
        now = time.monotonic()
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
