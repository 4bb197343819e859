"""What the recommender remembers of users, in a small application of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pydantic_core import to_json
from sqlalchemy import Engine

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.serving.deployments.keys import CachedKeys
from libs.serving.deployments.problems import PROBLEMS
from libs.settings import PlatformSettings
from libs.web import problems
from services.recommender.explanations.record import RecommendationRecord
from services.recommender.memory import Memory, open_memory
from services.recommender.memory_routes import ROUTERS
from services.recommender.memory_settings import MemorySettings


def memory_settings(database_url: str, valkey_url: str, **changes: Any) -> MemorySettings:
    platform = PlatformSettings(database_url=SecretStr(database_url), broker_url=SecretStr(valkey_url))
    return MemorySettings(platform=platform, **changes)


@contextmanager
def remembering(engine: Engine, settings: MemorySettings) -> Iterator[Memory]:
    with open_memory(engine, settings, CollectorRegistry()) as memory:
        yield memory


def memory_app(memory: Memory) -> FastAPI:
    app = FastAPI()
    app.state.memory = memory
    app.state.keys = CachedKeys(memory.engine)
    problems.install(app, PROBLEMS)
    for router in ROUTERS:
        app.include_router(router)
    return app


def record(items: list[str], project_id: UUID = DEFAULT_PROJECT_ID, **changes: Any) -> RecommendationRecord:
    """An answer that recommended `items`, best first."""
    fields: dict[str, Any] = {
        "request_id": uuid4(),
        "project_id": project_id,
        "deployment": "shop",
        "variant": "champion",
        "model": "shop-hcrnn",
        "version": 3,
        "version_id": UUID(int=3),
        "user_id": None,
        "session_id": "s-1",
        "strategy": "model",
        "items": [
            {"item_id": item_id, "score": 1.0 / rank, "reasons": [{"because": "seen", "item_id": "a"}]}
            for rank, item_id in enumerate(items, start=1)
        ],
        "history": ["a", "b"],
    }
    return RecommendationRecord(**{**fields, **changes})


def record_json(items: list[str], **changes: Any) -> bytes:
    """The same as the recorder hands it over to be inserted."""
    return to_json(record(items, **changes))
