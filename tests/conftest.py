"""Fixtures every test may use: a real Postgres, a real Valkey, an artifact store, fresh for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import make_engine, session
from libs.registry.artifacts import ArtifactStore
from services.local.valkey import LocalValkey
from tests.support.platform import Platform, platform
from tests.support.postgres import cloned_database, open_folder, postgres_server


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """A Postgres server of this test session, with the migrated template database in it."""
    with postgres_server() as server:
        yield server.url


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
