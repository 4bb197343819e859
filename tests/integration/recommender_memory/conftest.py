"""The recommender's memory over a fresh database and an empty Valkey."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from services.recommender.memory import Memory
from services.recommender.memory_settings import MemorySettings
from tests.support.memory import memory_app, memory_settings, remembering
from tests.support.serving import add_key

MakeClient = Callable[..., TestClient]


@pytest.fixture
def settings(postgres_url: str, valkey_url: str) -> MemorySettings:
    return memory_settings(postgres_url, valkey_url, max_events=50, max_events_bytes=20_000, session_items=5)


@pytest.fixture
def memory(engine: Engine, settings: MemorySettings) -> Iterator[Memory]:
    with remembering(engine, settings) as made:
        yield made


@pytest.fixture
def make_client(engine: Engine, memory: Memory) -> Iterator[MakeClient]:
    """A client whose key has the given scopes; `project_id` for a project of its own."""
    opened: list[TestClient] = []

    def make(*scopes: str, **project: object) -> TestClient:
        key = add_key(engine, list(scopes), **project)
        opened.append(TestClient(memory_app(memory), headers={"Authorization": f"Bearer {key}"}))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client("admin")
