"""What is loaded serves on without Postgres, and a restart works from the snapshot and the local cache."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.artifacts import ArtifactStore
from libs.registry.deployments import create_deployment
from libs.registry.models import register_version
from libs.settings import PlatformSettings
from tests.support.bundles import make_bundle
from tests.support.model_server import RunningServer, model_server
from tests.support.postgres import cloned_database, postgres_server
from tests.support.serving import add_key, picture


class Platform:
    """A Postgres of this test alone, that can be taken away."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._stack = ExitStack()
        server = self._stack.enter_context(postgres_server())
        self.url = self._stack.enter_context(cloned_database(server.url))
        self.stop_postgres = self._stack.close
        self.key = self._fill(folder)

    def _fill(self, folder: Path) -> str:
        bundle = make_bundle(folder / "bundle")
        store = ArtifactStore(PlatformSettings(home=self.home).artifact_root)
        stored = store.put_folder(folder / "bundle")
        engine = make_engine(self.url)
        with transaction(engine) as session:
            register_version(session, project_id=DEFAULT_PROJECT_ID, model_name="shades", bundle=bundle, folder=stored)
            create_deployment(session, DEFAULT_PROJECT_ID, "shades", "shades")
        key = add_key(engine, ["infer"])
        engine.dispose()
        return key


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path)
    yield platform
    platform.stop_postgres()


def label(server: RunningServer, key: str) -> str:
    with server.client(key) as client:
        answer = client.post("/v1/classify/shades", content=picture(250), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["label"]


def test_serving_and_restarting_without_postgres(platform: Platform) -> None:
    with model_server(platform.url, platform.home, poll_s=0.2) as server:
        assert label(server, platform.key) == "bright"
        platform.stop_postgres()
        assert label(server, platform.key) == "bright"
        with server.client(platform.key[:-1] + "x") as client:
            assert client.get("/v2/models/shades").status_code == 401
        with server.client("oct_0000000000_00") as client:
            answer = client.get("/v2/models/shades")
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")

    snapshot = platform.home / "model_server" / "snapshot.json"
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert platform.key not in snapshot.read_text()
    shutil.rmtree(platform.home / "artifacts")
    with model_server(platform.url, platform.home) as server:
        assert label(server, platform.key) == "bright"


def test_a_damaged_cache_is_not_served(platform: Platform) -> None:
    with model_server(platform.url, platform.home) as server:
        assert label(server, platform.key) == "bright"
    platform.stop_postgres()
    shutil.rmtree(platform.home / "artifacts")
    (file,) = (platform.home / "cache" / "models").glob("*/model.onnx")
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with model_server(platform.url, platform.home) as server, server.client(platform.key) as client:
        answer = client.get("/v2/models/shades")
    assert answer.status_code == 404
    assert "could not be loaded" in answer.json()["detail"]


def test_a_damaged_snapshot_does_not_stop_the_start(platform: Platform) -> None:
    platform.stop_postgres()
    (platform.home / "model_server").mkdir(parents=True)
    (platform.home / "model_server" / "snapshot.json").write_text('{"wanted": [')
    with model_server(platform.url, platform.home) as server, server.client(platform.key) as client:
        assert client.get("/v2/health/ready").status_code == 200
        assert client.get("/v2/models/shades").status_code == 503
