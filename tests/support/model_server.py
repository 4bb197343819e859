"""An inference service in its own process, as it runs for real."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from services.local.process import free_port


@dataclass(frozen=True)
class RunningServer:
    url: str
    process: subprocess.Popen[bytes]

    def client(self, key: str) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def model_server(database_url: str, home: Path, **settings: object) -> AbstractContextManager[RunningServer]:
    """A model server on `home` that has had its first look; ended by SIGTERM."""
    return _service("model_server", database_url, home, settings)


def recommender(database_url: str, home: Path, **settings: object) -> AbstractContextManager[RunningServer]:
    """A recommender on `home` that has had its first look; ended by SIGTERM."""
    return _service("recommender", database_url, home, settings)


@contextmanager
def _service(name: str, database_url: str, home: Path, settings: Mapping[str, object]) -> Iterator[RunningServer]:
    port = free_port()
    environment = {
        **os.environ,
        "OCTAVO_DATABASE_URL": database_url,
        "OCTAVO_HOME": str(home),
        f"OCTAVO_{name.upper()}_PORT": str(port),
        **{f"OCTAVO_{name.upper()}_{setting.upper()}": str(value) for setting, value in settings.items()},
    }
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", f"services.{name}"], env=environment, stdout=log, stderr=log)
    try:
        server = RunningServer(f"http://127.0.0.1:{port}", process)
        _wait_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(server: RunningServer) -> None:
    while True:
        if server.process.poll() is not None:
            raise RuntimeError(f"the service ended with code {server.process.returncode} while starting")
        try:
            if httpx2.get(f"{server.url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            continue
