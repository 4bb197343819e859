"""Fixtures every test may use: a real Postgres, a real Valkey, an artifact store, fresh for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
import redis
from hypothesis import settings
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import make_engine, session
from libs.registry.artifacts import ArtifactStore
from services.local.postgres import installed_majors
from services.local.valkey import LocalValkey
from tests.support.platform import Platform, platform
from tests.support.postgres import cloned_database, open_folder, postgres_server

settings.register_profile("octavo", deadline=None)  # nothing here is timed: a busy machine is no error
settings.load_profile("octavo")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `every_postgres` run once on each major version that is installed."""
    if metafunc.definition.get_closest_marker("every_postgres") and "postgres_server_url" in metafunc.fixturenames:
        metafunc.parametrize("postgres_server_url", installed_majors(), ids="postgres-{}".format, indirect=True)


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[[int], str]]:
    """URL of this test session's server of a major version, with the migrated template database in it."""
    with ExitStack() as running:
        yield cache(lambda major: running.enter_context(postgres_server(major)).url)


@pytest.fixture(scope="session")
def postgres_server_url(request: pytest.FixtureRequest, postgres_servers: Callable[[int], str]) -> str:
    """A Postgres server of this test session, of the newest version unless a test says otherwise."""
    return postgres_servers(getattr(request, "param", max(installed_majors())))


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """A migrated database of this test alone."""
    with cloned_database(postgres_server_url) as url:
        yield url


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """A connection pool on this test's database."""
    engine = make_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def db(engine: Engine) -> Iterator[Session]:
    """A session on this test's database; the test commits what other connections should see."""
    with session(engine) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_valkey_url() -> Iterator[str]:
    """A Valkey server of this test session."""
    with open_folder("octavo-valkey-") as folder, LocalValkey(folder) as server:
        yield server.url


@pytest.fixture
def valkey_url(shared_valkey_url: str) -> str:
    """URL of an empty Valkey."""
    with redis.Redis.from_url(shared_valkey_url) as client:
        client.flushall()
    return shared_valkey_url


@pytest.fixture
def artifact_store(tmp_path: Path) -> ArtifactStore:
    """An empty artifact store of this test alone."""
    return ArtifactStore((tmp_path / "artifacts").as_uri())


@pytest.fixture
def octavo(engine: Engine, postgres_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Platform]:
    """Real relay and worker processes on this test's database; the test starts them."""
    with platform(engine, postgres_url, valkey_url, tmp_path / "home") as made:
        yield made
