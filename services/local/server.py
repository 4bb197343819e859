"""A server of somebody else's that runs on this machine: what Postgres and Valkey have in common."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Collection
from io import FileIO
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import ClassVar, Self

from services.local import process as servers


class LocalServer(ABC):
    """One server in `folder`, held by a lock; a context manager that starts and stops it.

    Attributes:
        name: for people.
        stop_steps: signals that end it, and how long each has in s.
        port: of 127.0.0.1, once it is launched.
    """

    name: ClassVar[str]
    stop_steps: ClassVar[tuple[tuple[Signals, float], ...]]

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        settings: dict[str, str] | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        self.folder = Path(folder)
        self.wanted_port = port
        self.settings = settings or {}
        self.start_timeout_s = start_timeout_s
        self.log = self.folder / f"{self.name.lower()}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port: int | None = None
        self._lock: FileIO | None = None
        self._password = ""

    def start(self) -> None:
        """Start it, made first if need be, and wait until it answers.

        Raises:
            AlreadyRunningError: another process runs the server of this folder.
            ClusterVersionError: its data needs a version that is not installed.
            NotInstalledError: the wheel or an account to run as is missing.
            StartError: it did not start; the message ends with its log.
        """
        self.launch()
        self.wait_ready()

    def launch(self, promised: Collection[int] = ()) -> None:
        """As `start`, without waiting until it answers; `wait_ready` does.

        Args:
            promised: ports of servers that do not listen yet.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._lock = servers.hold(self.folder / "lock", self.name)
        try:
            self.port = servers.remembered_port(self.folder / "port", self.wanted_port, promised)
            self._launch()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Wait until what was launched answers.

        Raises:
            StartError: it ended, or did not answer in time.
        """
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it as `stop_steps` say. Safe to call at any time."""
        if self.process is not None:
            servers.stop(self.process, self.stop_steps)
            self.process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _launch(self) -> None:
        """Start `process` to listen on `port`; the lock is held."""

    @abstractmethod
    def _wait(self) -> None:
        """Wait until `process` answers."""
