"""The supervisor's patience, with servers that are scripts of ours and a clock that we turn."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.local.errors import StartError
from services.local.supervisor import GaveUpError, RestartRule, Supervisor


class Script:
    """A server that runs until its standard input closes; `broken` ones end at once."""

    port = None

    def __init__(self, log: Path, broken: bool = False) -> None:
        self.log, self.broken = log, broken
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        log.write_text("the last words\n")

    def start(self) -> None:
        self.starts += 1
        if self.broken:
            raise StartError("nothing works\nand more")
        self.process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)

    def end(self) -> None:
        assert self.process is not None
        self.process.communicate(b"\n")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def supervisor(server: Script, rule: RestartRule | None = None) -> tuple[Supervisor, Clock, list[str]]:
    clock, lines = Clock(), []
    one = Supervisor(lines.append, rule or RestartRule(), clock=clock)
    server.start()
    one.adopt("scribe", server)
    return one, clock, lines


def test_what_ended_is_started_again_after_its_wait(tmp_path: Path):
    server = Script(tmp_path / "log")
    one, clock, lines = supervisor(server)
    assert not one.look()
    server.end()
    assert one.look()
    assert "scribe ended with code 0; starting it again in 0.5 s" in lines[-1]
    clock.now = 0.4
    assert not one.look()
    clock.now = 0.5
    assert one.look()
    assert (server.starts, one.watched[0].restarts) == (2, 1)
    assert one.watched[0].state().pid == server.process.pid
    one.stop_all()
    assert lines[-1] == "stopping scribe"
    assert server.process is None


def test_it_gives_up_loudly_with_the_last_words(tmp_path: Path):
    server = Script(tmp_path / "log")
    one, clock, lines = supervisor(server, RestartRule(give_up_after=4))
    server.end()
    server.broken = True
    one.look()
    for _ in range(2):
        clock.now += 100.0
        one.look()
    assert "did not start (nothing works); starting it again in 2 s" in lines[-1]
    clock.now += 100.0
    with pytest.raises(GaveUpError, match=r"(?s)scribe did not start.*the 4th time in a row.*the last words"):
        one.look()


def test_a_long_good_run_makes_it_patient_again(tmp_path: Path):
    server = Script(tmp_path / "log")
    one, clock, _ = supervisor(server, RestartRule(give_up_after=2, settled_s=60.0))
    for _ in range(4):
        server.end()
        one.look()
        clock.now += 1.0
        one.look()
        clock.now += 61.0
    assert one.watched[0].restarts == 4
    one.stop_all()


def test_waits_double_up_to_the_longest():
    rule = RestartRule(first_wait_s=1.0, longest_wait_s=5.0)
    assert [rule.wait_s(n) for n in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
