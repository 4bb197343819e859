"""The gateway on a fresh database: in this process by `client`, as a real server by `server_url`."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Engine
from starlette.testclient import TestClient

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey, Project
from libs.registry.artifacts import ArtifactStore
from libs.serving.bundle import Lineage
from libs.settings import PlatformSettings
from libs.web.auth import Scope, make_key
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from services.local.process import free_port
from tests.support.dashboard import Browser
from tests.support.datasets import add_dataset
from tests.support.registry import add_job, add_version, bundle
from tests.support.waiting import until

KeyMaker = Callable[..., dict[str, str]]


@pytest.fixture(autouse=True, scope="session")
def _short_logs() -> None:
    """Tracebacks without the locals of every frame, which take seconds to draw."""
    shown = [
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=shown)


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> GatewaySettings:
    """Settings of a gateway on this test's database and folder."""
    roots = tmp_path / "data"
    roots.mkdir()
    platform = PlatformSettings(database_url=SecretStr(postgres_url), home=tmp_path / "home", data_roots=str(roots))
    return GatewaySettings(platform=platform, pool_size=5)


@pytest.fixture
def make_headers(engine: Engine) -> KeyMaker:
    """Makes an API key with the given scopes and returns the headers that carry it."""

    def make(*scopes: str, project_id: UUID = DEFAULT_PROJECT_ID) -> dict[str, str]:
        new = make_key()
        row = ApiKey(project_id=project_id, name="test", prefix=new.prefix, digest=new.digest, scopes=list(scopes))
        with transaction(engine) as session:
            session.add(row)
        return {"Authorization": f"Bearer {new.text}"}

    return make


@pytest.fixture
def admin(make_headers: KeyMaker) -> dict[str, str]:
    """Headers of an admin key."""
    return make_headers(Scope.ADMIN)


@pytest.fixture
def other_project(engine: Engine, make_headers: KeyMaker) -> dict[str, str]:
    """Headers of an admin key of another project."""
    with transaction(engine) as session:
        project = Project(name="other")
        session.add(project)
        session.flush()
    return make_headers(Scope.ADMIN, project_id=project.id)


@pytest.fixture
def client(settings: GatewaySettings, admin: dict[str, str]) -> Iterator[TestClient]:
    """The gateway in this process, asked with an admin key."""
    with TestClient(create_app(settings), headers=admin, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def digits(engine: Engine) -> str:
    """A ready data set `digits`, version 1; its content digest."""
    with transaction(engine) as session:
        return add_dataset(session, "digits")


def stored_long_ago(settings: GatewaySettings, folder: Path, content: bytes) -> str:
    """A file in the store that no row names; its URI."""
    store = ArtifactStore(settings.platform.artifact_root)
    (folder / "file").write_bytes(content)
    uri = store.put_file(folder / "file").uri
    old = store.modified_at(uri)
    assert old is not None
    os.utime(uri.removeprefix("file://"), (old.timestamp() - 86_400, old.timestamp() - 86_400))
    return uri


@contextmanager
def running_gateway(settings: GatewaySettings, **environment: str) -> Iterator[str]:
    """A gateway process; yields its address once it answers. Its log is `<home>/gateway.log`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings.platform.home.mkdir(parents=True, exist_ok=True)
    path = settings.platform.home / "gateway.log"
    with path.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.gateway"],
            env={**os.environ, **_environment(settings), "OCTAVO_GATEWAY_PORT": str(port), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: _answers(url) or process.poll() is not None, "the gateway to answer")
        assert process.poll() is None, path.read_text()
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/livez").status_code == 200
    except httpx2.TransportError:
        return False


def _environment(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "OCTAVO_DATABASE_URL": settings.platform.database_url.get_secret_value(),
        "OCTAVO_HOME": str(settings.platform.home),
        "OCTAVO_DATA_ROOTS": settings.platform.data_roots,
        "OCTAVO_GATEWAY_MODEL_SERVER_URL": settings.model_server_url,
        "OCTAVO_GATEWAY_RECOMMENDER_URL": settings.recommender_url,
    }


@pytest.fixture
def server_url(settings: GatewaySettings) -> Iterator[str]:
    """Address of a gateway process of its own."""
    with running_gateway(settings) as url:
        yield url


@pytest.fixture
def remote(server_url: str, admin: dict[str, str]) -> Iterator[httpx2.Client]:
    """A client of the gateway process, with an admin key."""
    with httpx2.Client(base_url=server_url, headers=admin, timeout=20) as opened:
        yield opened


@pytest.fixture
def browser(settings: GatewaySettings, make_headers: KeyMaker) -> Iterator[Browser]:
    """Logged in with an admin key."""
    with Browser(create_app(settings), raise_server_exceptions=False, follow_redirects=False) as opened:
        opened.headers["accept"] = "text/html"
        key = make_headers(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
        assert opened.post("/login", data={"key": key}).status_code == 303
        yield opened


@pytest.fixture
def cats(engine: Engine, digits: str) -> None:
    """A model with two ready versions, the second made from the first, and a third that was rejected."""
    with transaction(engine) as session:
        job = add_job(session, "the-training")
        lineage = Lineage(method="frskd", config={"lr": 0.1}, dataset_digests={"train": digits})
        first = add_version(session, bundle=bundle(lineage=lineage), job_id=job.id)
        lineage = Lineage(method="frskd", config={"lr": 0.2}, parent_digests={"init": first.digest})
        add_version(session, bundle=bundle(lineage=lineage), metrics={"test/accuracy": 0.75})
        add_version(session, bundle=bundle(parity=None))
