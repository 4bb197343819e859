"""Stopping a stack that runs elsewhere, with a word about what is waited for."""

import time
from collections.abc import Callable
from itertools import islice

import psutil

from libs.client.client import Octavo
from libs.client.errors import OctavoError
from libs.client.transport import Retries
from services.local.errors import StillStopsError
from services.local.layout import StackState

_LOOK_EVERY_S = 0.2
_REMIND_EVERY_S = 10.0
_NAMED_JOBS = 5
Tell = Callable[[str], None]


def stop_and_wait(supervisor: psutil.Process, state: StackState | None, timeout_s: float, tell: Tell) -> None:
    """Ask the supervisor to stop everything, and say what it still waits for until it has ended.

    Raises:
        StillStopsError: it has not ended after `timeout_s`.
    """
    tell(announcement(running_jobs(state) if state is not None else []))
    begun = told_at = time.monotonic()
    left = {one.name: one.pid for one in (state.services if state is not None else []) if one.pid is not None}
    supervisor.terminate()
    while not _has_ended(supervisor):
        now = time.monotonic()
        if now - begun > timeout_s:
            raise StillStopsError(
                f"Process {supervisor.pid} still stops after {timeout_s:g} s; see `octavo logs stack`."
            )
        ended = [name for name, pid in left.items() if not psutil.pid_exists(pid)]
        for name in ended:
            del left[name]
            tell(f"  {name} has stopped after {now - begun:.0f} s")
        if ended:
            told_at = now
        elif left and now - told_at >= _REMIND_EVERY_S:
            told_at = now
            tell(f"  waiting for {list(left)[-1]} since {now - begun:.0f} s")  # they stop in the reverse order


def _has_ended(process: psutil.Process) -> bool:
    try:
        process.wait(_LOOK_EVERY_S)
    except psutil.TimeoutExpired:
        return False
    return True


def announcement(jobs: list[str]) -> str:
    """What stopping means for the jobs that run."""
    if not jobs:
        return "Stopping Octavo; no job runs."
    more = " …" if len(jobs) > _NAMED_JOBS else ""
    named = ", ".join(jobs[:_NAMED_JOBS])
    return f"Stopping Octavo. What runs writes a checkpoint first and is queued again: {named}{more}"


def running_jobs(state: StackState) -> list[str]:
    """Names of jobs that workers have taken; empty when the gateway does not answer at once."""
    try:
        key = state.key_file.read_text().strip()
        with Octavo(state.url, key, timeout_s=2.0, retries=Retries(attempts=1)) as octavo:
            return [job.name for job in islice(octavo.jobs.list(status=("starting", "running")), _NAMED_JOBS + 1)]
    except (OctavoError, OSError):
        return []
