"""The stack as a whole: one at a time, what ends is started again, and nothing of it remains."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from services.local.layout import Layout, ServiceState
from tests.support.command_line import CommandLine
from tests.support.waiting import until


@pytest.fixture
def octavo_command(open_folder: Path) -> Iterator[CommandLine]:
    command = CommandLine(open_folder / "home")
    yield command
    command.run("down")
    _, alive = psutil.wait_procs(command.processes(), timeout=30)
    for process in alive:
        process.kill()
    assert alive == []


def service(command: CommandLine, name: str) -> ServiceState:
    state = Layout(command.home).running()
    assert state is not None
    (found,) = [one for one in state.services if one.name == name]
    return found


def test_the_life_of_a_stack(octavo_command: CommandLine):
    octavo = octavo_command
    down = octavo.run("status")
    assert (down.code, down.out) == (3, "Octavo does not run. Start it with `octavo up`.\n")
    unreachable = octavo.run("jobs", "ls")
    assert unreachable.code == 3
    assert "start it with `octavo up`" in unreachable.err

    up = octavo.done("up", "--detach")
    assert "Octavo is ready" in up.out
    key = (octavo.home / "api-key").read_text()
    assert key not in up.out
    for private in ("api-key", "stack.json", "postgres/password", "valkey/password", "session-cache/password"):
        assert (octavo.home / private).stat().st_mode & 0o777 == 0o600, private
    names = [one["name"] for one in octavo.done("status", "--json").json["services"]]
    assert names == [
        "postgres", "valkey", "session-cache",
        "gateway", "relay", "worker", "short-worker", "model-server", "recommender",
    ]  # fmt: skip
    using = psutil.Process(service(octavo, "recommender").pid).environ()
    for url, policy in (("OCTAVO_BROKER_URL", "noeviction"), ("OCTAVO_RECOMMENDER_SESSIONS_URL", "allkeys-lru")):
        with redis.Redis.from_url(using[url], decode_responses=True) as server:
            assert server.config_get("maxmemory-policy") == {"maxmemory-policy": policy}
    assert octavo.done("jobs", "ls", "--json").json == []
    assert "leftovers" in octavo.done("doctor").out

    again = octavo.run("up", "--detach")
    assert again.code == 1
    assert "already runs at http://127.0.0.1:" in again.err

    for name in ("gateway", "postgres", "session-cache"):
        os.kill(service(octavo, name).pid, signal.SIGKILL)
        until(lambda name=name: service(octavo, name).restarts == 1 and service(octavo, name).pid, f"{name} again")
    until(lambda: octavo.run("jobs", "ls").code == 0, "the gateway answers")

    everyone = octavo.processes()
    os.kill(octavo.done("status", "--json").json["pid"], signal.SIGKILL)
    _, alive = psutil.wait_procs(everyone, timeout=60)
    assert alive == []
    assert "it was killed; the next start cleans up" in octavo.run("status").out

    octavo.done("up", "--detach")
    assert (octavo.home / "api-key").read_text() == key
    octavo.done("down")
    assert octavo.processes() == []
    assert not (octavo.home / "stack.json").exists()
    assert octavo.done("down").out == "Octavo does not run.\n"


def test_a_service_that_cannot_start_stops_everything_and_says_why(octavo_command: CommandLine):
    octavo = octavo_command
    (octavo.home / "postgres" / "data").mkdir(parents=True)
    (octavo.home / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    failed = octavo.run("up", "--detach")
    assert failed.code == 1
    assert "made by Postgres 12" in failed.err
    assert "pg_dump" in failed.err
    status = octavo.run("status")
    assert status.code == 3
    assert "made by Postgres 12" in status.out
    report = octavo.run("doctor", "--json")
    assert report.code == 1
    assert [one["level"] for one in report.json if one["subject"] == "postgres"] == ["missing"]


def test_ctrl_c_while_it_starts_leaves_nothing(octavo_command: CommandLine):
    with subprocess.Popen(
        [sys.executable, "-m", "services.local", "up"],
        env=octavo_command.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as starting:  # fmt: skip
        assert starting.stdout is not None
        for line in starting.stdout:
            if "starting gateway" in line:
                break
        starting.send_signal(signal.SIGINT)
        rest = starting.stdout.read()
        assert starting.wait(60) == 0, rest
    assert "Stopping before everything had started." in rest
    assert octavo_command.processes() == []
