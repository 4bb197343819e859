"""What the recommender remembers of users, and how routes get at it: Postgres, the session cache, the recorder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from libs.database.engine import read_only
from libs.database.tables import UserEvent
from libs.web.transactions import Transactions
from services.recommender.explanations.recorder import Recorder
from services.recommender.history import repository as history
from services.recommender.history.repository import Actor
from services.recommender.memory_settings import MemorySettings
from services.recommender.sessions.store import LoadEvents, SessionStore


@dataclass(frozen=True, slots=True)
class Memory(Transactions):
    """The connections of one process."""

    settings: MemorySettings
    engine: Engine
    sessions: SessionStore
    recorder: Recorder


@contextmanager
def open_memory(engine: Engine, settings: MemorySettings, registry: CollectorRegistry) -> Iterator[Memory]:
    """The memory of one process; when the block ends, recommendations that wait to be written are written.

    An application puts it at `app.state.memory` and includes `services.recommender.memory_routes.ROUTERS`.

    Args:
        registry: where the metrics of cache and recorder are counted.
    """
    sessions = SessionStore(settings, _loading(engine), registry)
    recorder = Recorder(engine, settings, registry)
    recorder.start()
    try:
        yield Memory(settings, engine, sessions, recorder)
    finally:
        recorder.stop()
        sessions.close()


def _loading(engine: Engine) -> LoadEvents:
    def load(project_id: UUID, session_id: str, limit: int) -> list[UserEvent]:
        with read_only(engine) as opened:
            return list(reversed(history.newest(opened, project_id, Actor("session", session_id), limit)))

    return load


async def _memory(request: Request) -> Memory:
    memory: Memory = request.app.state.memory
    return memory


Mem = Annotated[Memory, Depends(_memory)]
