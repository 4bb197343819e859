"""`octavo down` says what it waits for."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from services.local.errors import StillStopsError
from services.local.layout import ServiceState, StackState
from services.local.stopping import announcement, running_jobs, stop_and_wait

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


def started(program: str) -> subprocess.Popen[bytes]:
    """A process that has begun to run the program."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended() -> subprocess.Popen[bytes]:
    """A process that is gone."""
    process = started("print(flush=True)")
    process.communicate()
    return process


def state(tmp_path: Path, **pids: int) -> StackState:
    (tmp_path / "key").write_text("oct_key")
    services = [
        ServiceState(name=name, pid=pid, port=None, restarts=0, log=tmp_path / "l") for name, pid in pids.items()
    ]
    return StackState(
        pid=1,
        version="0",
        phase="ready",
        url="http://127.0.0.1:9",
        model_server_url="http://127.0.0.1:9",
        recommender_url="http://127.0.0.1:9",
        key_file=tmp_path / "key",
        started_at=0.0,
        services=services,
    )


def test_the_wait_ends_with_the_supervisor(tmp_path: Path):
    supervisor = started("import signal; print(flush=True); signal.pause()")
    said: list[str] = []
    stop_and_wait(psutil.Process(supervisor.pid), state(tmp_path, gateway=os.getpid()), 30.0, said.append)
    assert said == ["Stopping Octavo; no job runs."]  # the gateway is this process, which goes on
    supervisor.communicate()
    assert not psutil.pid_exists(supervisor.pid)


def test_what_has_ended_is_named_and_the_wait_has_a_limit(tmp_path: Path):
    supervisor = started(STUBBORN)
    gone = ended()
    said: list[str] = []
    try:
        with pytest.raises(StillStopsError, match="octavo logs stack"):
            stop_and_wait(psutil.Process(supervisor.pid), state(tmp_path, worker=gone.pid), 0.5, said.append)
    finally:
        supervisor.kill()
        supervisor.communicate()
    assert "  worker has stopped after 0 s" in said


def test_the_jobs_that_run_are_named():
    assert announcement(["cats", "dogs"]).endswith("first and is queued again: cats, dogs")
    assert announcement([str(n) for n in range(9)]).endswith("queued again: 0, 1, 2, 3, 4 …")


def test_a_gateway_that_does_not_answer_does_not_hold_the_stop(tmp_path: Path):
    assert running_jobs(state(tmp_path)) == []
