"""A model server in its own process, as it runs for real."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def model_server(database_url: str, home: Path, **settings: object) -> Iterator[RunningServer]:
    """A server on `home` that has had its first look; ended by SIGTERM."""
    port = free_port()
    environment = {
        **os.environ,
        "OCTAVO_DATABASE_URL": database_url,
        "OCTAVO_HOME": str(home),
        "OCTAVO_MODEL_SERVER_PORT": str(port),
        **{f"OCTAVO_MODEL_SERVER_{name.upper()}": str(value) for name, value in settings.items()},
    }
    home.mkdir(parents=True, exist_ok=True)
    with (home / "model-server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.model_server"], env=environment, stdout=log, stderr=log
        )
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
            raise RuntimeError(f"the model server ended with code {server.process.returncode} while starting")
        try:
            if httpx2.get(f"{server.url}/v2/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            continue
