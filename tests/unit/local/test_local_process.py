"""Ports, secrets, locks and logs of local servers."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import psutil
import pytest

from libs.settings import PlatformSettings
from services.local import process as servers
from services.local.errors import AlreadyRunningError, StartError
from services.local.layout import Layout
from services.local.plan import Plan


def test_a_port_is_remembered_until_somebody_takes_it(tmp_path: Path):
    note = tmp_path / "port"
    first = servers.remembered_port(note, None)
    assert servers.remembered_port(note, None) == first
    with socket.create_server(("127.0.0.1", first)):
        assert servers.remembered_port(note, None) != first
    note.write_text("not a port\n")
    assert servers.port_is_free(servers.remembered_port(note, None))


def test_a_port_promised_to_another_server_is_not_given_twice(tmp_path: Path):
    note = tmp_path / "port"
    first = servers.remembered_port(note, None)
    second = servers.remembered_port(note, None, {first})
    assert second != first
    with mock.patch.object(servers, "free_port", side_effect=[first, second, second + 1]):
        assert servers.remembered_port(tmp_path / "other", None, {first, second}) == second + 1


def test_a_secret_is_private_and_kept(tmp_path: Path):
    secret = servers.secret(tmp_path / "password")
    assert len(secret) == 32
    assert servers.secret(tmp_path / "password") == secret
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_a_lock_has_one_holder_who_is_named(tmp_path: Path):
    lock = tmp_path / "lock"
    assert servers.lock_holder(lock) is None
    held = servers.hold(lock, "The press")
    assert servers.lock_holder(lock) == os.getpid()
    with pytest.raises(AlreadyRunningError, match=f"The press already runs, held by process {os.getpid()} "):
        servers.hold(lock, "The press")
    held.close()
    assert servers.lock_holder(lock) is None


def test_a_long_log_is_cut_and_its_end_kept(tmp_path: Path):
    log = tmp_path / "a.log"
    with log.open("ab") as writer:
        writer.write(b"x" * 90 + b"end of the old\n")
        writer.flush()
        assert servers.bound_log(log, limit_bytes=100)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "a.log.1").read_bytes().endswith(b"end of the old\n")
    assert not servers.bound_log(log, limit_bytes=100)


def test_a_server_that_ends_while_starting_is_reported_with_its_log(tmp_path: Path):
    log = tmp_path / "log"
    process = servers.spawn([sys.executable, "-I", "-S", "-c", "print('bad day'); raise SystemExit(3)"], log)
    with pytest.raises(StartError, match=r"(?s)ended with code 3 while starting.*bad day"):
        servers.wait_until_ready("A server", process, lambda: False, log, timeout_s=30.0)


def test_a_server_that_stays_silent_is_reported_after_the_timeout(tmp_path: Path):
    log = tmp_path / "log"
    process = servers.spawn([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], log)
    with pytest.raises(StartError, match=r"did not answer within 0.1 s"):
        servers.wait_until_ready("A server", process, lambda: False, log, timeout_s=0.1)
    assert not servers.stop(process, ())


_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


def test_a_server_deaf_to_signals_is_killed(tmp_path: Path):
    log = tmp_path / "log"
    process = servers.spawn([sys.executable, "-I", "-S", "-c", _DEAF], log)
    servers.wait_until_ready("A server", process, lambda: log.read_text() == "deaf\n", log, timeout_s=30.0)
    assert not servers.stop(process, ((signal.SIGTERM, 0.1),))
    assert process.returncode == -signal.SIGKILL


_STARTER = """
import sys
from pathlib import Path
from unittest import mock
from services.local.process import spawn
child = spawn([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"], Path(sys.argv[1]))
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_server_ends_with_its_killed_starter(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        child = psutil.Process(int(starter.stdout.readline()))
        starter.kill()
        child.wait(30)
    assert not child.is_running()


def test_no_service_of_the_stack_opens_a_port_that_our_environment_names_for_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OCTAVO_METRICS_PORT", "9101")
    layout = Layout(tmp_path)
    layout.make()
    plan = Plan.make(PlatformSettings(home=tmp_path), layout)
    assert {service._environment["OCTAVO_METRICS_PORT"] for service in plan.services()} == {"0"}
