"""One of our own processes in the local stack: the gateway, the relay, a worker, the model server, the recommender."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from services.local import process as servers


class Managed(Protocol):
    """What the supervisor needs of a server, ours or not."""

    log: Path
    process: subprocess.Popen[bytes] | None
    port: int | None

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            LocalStackError: it cannot start.
        """

    def stop(self) -> None:
        """Stop it and wait; safe to call at any time."""


class PythonService:
    """`python -m <module> <arguments>`, ready when `ready` says so.

    Args:
        environment: what it sees beside our own environment.
        stop_timeout_s: time between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        log: Path,
        *,
        environment: Mapping[str, str],
        ready: Callable[[int], bool],
        port: int | None = None,
        start_timeout_s: float = 60.0,
        stop_timeout_s: float = 15.0,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = environment
        self._ready = ready
        self._start_timeout_s = start_timeout_s
        self._stop_steps = ((signal.SIGTERM, stop_timeout_s),)

    def launch(self) -> None:
        """Start it without waiting."""
        self.process = servers.spawn(
            [sys.executable, "-m", *self.command], self.log, environment={**os.environ, **self._environment}
        )

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            StartError: it ended, or did not answer in time.
        """
        process = self.process
        if process is not None:
            servers.wait_until_ready(
                self.name, process, lambda: self._ready(process.pid), self.log, self._start_timeout_s
            )

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """SIGTERM, time to end, SIGKILL."""
        if self.process is not None:
            servers.stop(self.process, self._stop_steps)
            self.process = None


def http_ready(port: int, path: str, timeout_s: float = 2.0) -> bool:
    """Whether `GET path` on this machine's `port` is answered by a success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
