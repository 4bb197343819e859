"""Which device a job gets. GPUs are counted without torch, and each job sees only its own."""

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from libs.jobs.spec import Resources

_LOOK_EVERY_S = 0.5


class NoSuchDevice(Exception):
    """The job asks for a device this worker does not have; another attempt here cannot help."""

    user_error = True


class NoLongerWanted(Exception):
    """The job was told to stop while it waited: for a device, or for the artifact store."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as `nvidia-smi` names it."""

    uuid: str
    name: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a child process runs on. `gpus` are the only ones it can see, so they count from 0 for it."""

    device: str
    gpus: tuple[Gpu, ...] = ()
    processes: int = 1

    def environment(self) -> dict[str, str]:
        """Hides every other GPU, all of them on a CPU job."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in self.gpus)}


def find_gpus() -> list[Gpu]:
    """GPUs of this machine that CUDA_VISIBLE_DEVICES lets this worker use."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    gpus = [_parse_gpu(line) for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
    return _visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _parse_gpu(line: str) -> Gpu:
    uuid, name, memory = (part.strip() for part in line.split(","))
    return Gpu(uuid, name, int(memory) if memory.isdigit() else 0)


def _visible(gpus: list[Gpu], visible: str | None) -> list[Gpu]:
    """The GPUs a CUDA_VISIBLE_DEVICES value lists, by index or UUID; as CUDA does, up to the first unknown one."""
    if visible is None:
        return gpus
    chosen: list[Gpu] = []
    for part in (piece.strip() for piece in visible.split(",")):
        matching = [g for i, g in enumerate(gpus) if part == str(i) or (part and g.uuid.startswith(part))]
        if not matching:
            break
        chosen.append(matching[0])
    return chosen


class DevicePool:
    """Hands out GPUs; a job that needs more than are free waits for them all at once.

    Args:
        gpus: those this worker may use.
        folder: holds a lock file for each GPU, so that the workers of one machine do not use it together. A lock goes
            with the process that holds it.
    """

    def __init__(self, gpus: list[Gpu], folder: Path) -> None:
        self.gpus = gpus
        self._folder = folder

    @contextmanager
    def assigned(self, wanted: Resources, no_longer_wanted: Callable[[], bool]) -> Iterator[Assignment]:
        """A device for one job, while the context lasts.

        Raises:
            NoSuchDevice: CUDA was asked for and is not there, or not in that number.
            NoLongerWanted: `no_longer_wanted` is true, or came true while the job waited for GPUs.
        """
        if no_longer_wanted():
            raise NoLongerWanted
        if wanted.device == "cpu" or (wanted.device == "auto" and not self.gpus):
            yield Assignment("cpu", processes=wanted.gpus)
            return
        self._check(wanted)
        with self._taken(wanted.gpus, no_longer_wanted) as gpus:
            yield Assignment("cuda:0", gpus, wanted.gpus)

    def _check(self, wanted: Resources) -> None:
        if wanted.gpus > len(self.gpus):
            has = f"{len(self.gpus)} GPUs" if self.gpus else "no GPU that nvidia-smi can see"
            raise NoSuchDevice(
                f"The job asks for {wanted.gpus} x cuda; this worker has {has}. "
                f'Use device "cpu" or "auto" with fewer gpus, or start a worker on a machine that has them.'
            )

    @contextmanager
    def _taken(self, count: int, no_longer_wanted: Callable[[], bool]) -> Iterator[tuple[Gpu, ...]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            with ExitStack() as locks:
                gpus = tuple(islice((gpu for gpu in self.gpus if self._lock(gpu, locks)), count))
                if len(gpus) == count:
                    yield gpus
                    return
            if no_longer_wanted():
                raise NoLongerWanted
            threading.Event().wait(_LOOK_EVERY_S)

    def _lock(self, gpu: Gpu, locks: ExitStack) -> bool:
        file = locks.enter_context((self._folder / gpu.uuid).open("ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
