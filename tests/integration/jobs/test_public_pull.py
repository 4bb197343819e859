"""`octavo datasets pull` with a mirror: command, gateway, worker, child, and an HTTP server of small files."""

import gzip
import json
import shutil
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np
import pytest
from typer.testing import CliRunner

from libs.client.cli.app import app
from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.web.auth import Scope, make_key
from services.local.process import free_port
from tests.support.platform import Platform
from tests.support.waiting import until

LABELS = "t10k-labels-idx1-ubyte.gz"


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 10)):
        pictures = rng.integers(0, 256, (count, 8, 8), np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return folder


@pytest.fixture
def mirror(published: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a mirror, and the folder of its fashion-mnist."""
    folder = tmp_path / "mirror" / "datasets" / "fashion-mnist"
    shutil.copytree(published, folder)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


@pytest.fixture
def command(octavo: Platform, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The `octavo` command, beside a gateway that it may use."""
    port, new = free_port(), make_key()
    key = ApiKey(project_id=DEFAULT_PROJECT_ID, name="t", prefix=new.prefix, digest=new.digest, scopes=[Scope.ADMIN])
    with transaction(octavo.engine) as session:
        session.add(key)
    octavo.start("gateway", "services.gateway", OCTAVO_GATEWAY_PORT=str(port))
    monkeypatch.setenv("OCTAVO_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OCTAVO_API_KEY", new.text)

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/livez", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    until(answers, "the gateway to answer")
    return CliRunner()


@pytest.mark.timeout(600)
def test_a_wrong_file_is_refused_and_the_next_pull_goes_on(
    octavo: Platform, command: CliRunner, mirror: tuple[str, Path], published: Path
):
    address, folder = mirror
    octavo.start_relay()
    octavo.start_scripted_worker(OCTAVO_MIRROR=address, OCTAVO_TEST_PUBLISHED=str(published))
    (folder / LABELS).write_bytes(idx(np.zeros(10, np.uint8)))
    refused = command.invoke(app, ["datasets", "pull", "fashion-mnist"])
    assert refused.exit_code != 0
    assert "is not the file that was published" in str(refused.exception)
    for file in folder.iterdir():
        file.unlink()  # what came before the wrong file is not asked for again
    shutil.copy(published / LABELS, folder)
    pulled = command.invoke(app, ["datasets", "pull", "fashion-mnist", "--json"])
    assert pulled.exit_code == 0, pulled.output
    version = json.loads(pulled.stdout)
    assert (version["version"], version["status"], version["summary"]["pictures"]) == (2, "ready", 50)
