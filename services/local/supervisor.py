"""Keeps servers running: restarts what ends, waits longer each time, and gives up loudly."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.local import process as servers
from services.local.errors import LocalStackError
from services.local.layout import ServiceState
from services.local.service import Managed


class GaveUpError(LocalStackError):
    """A service ended again and again."""


@dataclass(frozen=True, slots=True)
class RestartRule:
    """How patient the supervisor is.

    Attributes:
        first_wait_s: wait before the first restart; doubles up to `longest_wait_s`.
        give_up_after: so many ends in a row, none after `settled_s` of running, end the whole stack.
    """

    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    settled_s: float = 60.0
    give_up_after: int = 6

    def wait_s(self, failures: int) -> float:
        """Wait before the restart that follows the `failures`-th end in a row."""
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** (failures - 1))


@dataclass(slots=True)
class Watched:
    """A server and what happened to it."""

    name: str
    server: Managed
    restarts: int = 0
    failures: int = 0
    started_at: float = 0.0
    restart_at: float | None = None
    last_reason: str = ""

    def state(self) -> ServiceState:
        """For the state file."""
        process = self.server.process
        pid = process.pid if process is not None and process.poll() is None else None
        return ServiceState(name=self.name, pid=pid, port=self.server.port, restarts=self.restarts, log=self.server.log)


@dataclass(slots=True)
class Supervisor:
    """Watches servers from one thread: the kernel ends a server with the thread that started it.

    `tell` gets one line for people whenever something happens.
    """

    tell: Callable[[str], None]
    rule: RestartRule = field(default_factory=RestartRule)
    watched: list[Watched] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    def adopt(self, name: str, server: Managed) -> None:
        """Watch a server that runs."""
        self.watched.append(Watched(name, server, started_at=self.clock()))

    def look(self) -> bool:
        """Notice what ended, restart what is due. Returns whether anything changed.

        Raises:
            GaveUpError: a service ended too often.
        """
        changed = [self._look_at(one) for one in self.watched]
        for one in self.watched:
            if servers.bound_log(one.server.log):
                self.tell(f"{one.name}: its log was long and is now {one.server.log.name}.1")
        return any(changed)

    def stop_all(self) -> None:
        """Stop everything, last started first."""
        while self.watched:
            one = self.watched.pop()
            self.tell(f"stopping {one.name}")
            one.server.stop()

    def _look_at(self, one: Watched) -> bool:
        if one.restart_at is not None:
            return self.clock() >= one.restart_at and self._restart(one)
        process = one.server.process
        code = process.poll() if process is not None else -1
        if code is None:
            return False
        self._note_end(one, f"ended with code {code}")
        return True

    def _note_end(self, one: Watched, reason: str) -> None:
        settled = self.clock() - one.started_at >= self.rule.settled_s
        one.failures = 1 if settled else one.failures + 1
        one.last_reason = reason
        one.server.stop()
        if one.failures >= self.rule.give_up_after:
            raise GaveUpError(
                f"{one.name} {reason}, the {one.failures}th time in a row; giving up. "
                f"The end of {one.server.log}:\n{servers.tail(one.server.log)}"
            )
        wait_s = self.rule.wait_s(one.failures)
        one.restart_at = self.clock() + wait_s
        self.tell(f"{one.name} {reason}; starting it again in {wait_s:g} s. Its log: {one.server.log}")

    def _restart(self, one: Watched) -> bool:
        one.restart_at = None
        one.started_at = self.clock()
        one.restarts += 1
        try:
            one.server.start()
        except LocalStackError as error:
            self._note_end(one, f"did not start ({_first_line(error)})")
        else:
            self.tell(f"{one.name} runs again")
        return True


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
