"""What the recommender remembers of users, and how routes get at it: Postgres, the session cache, the recorder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.database.engine import session, transaction
from libs.database.tables import UserEvent
from libs.web.timing import span
from services.recommender.explanations.recorder import Recorder
from services.recommender.history import repository as history
from services.recommender.history.repository import Actor
from services.recommender.memory_settings import MemorySettings
from services.recommender.sessions.store import LoadEvents, SessionStore


@dataclass(frozen=True, slots=True)
class Memory:
    """The connections of one process."""

    settings: MemorySettings
    engine: Engine
    sessions: SessionStore
    recorder: Recorder

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session in a read-only transaction: a write in it is an error of Postgres."""
        readonly = self.engine.execution_options(postgresql_readonly=True)
        with span("db"), session(readonly) as opened, opened.begin():
            yield opened

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose transaction is committed when the block ends, rolled back when it raises."""
        with span("db"), transaction(self.engine) as opened:
            yield opened


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
    readonly = engine.execution_options(postgresql_readonly=True)

    def load(project_id: UUID, session_id: str, limit: int) -> list[UserEvent]:
        with session(readonly) as opened:
            return list(reversed(history.newest(opened, project_id, Actor("session", session_id), limit)))

    return load


async def _memory(request: Request) -> Memory:
    memory: Memory = request.app.state.memory
    return memory


Mem = Annotated[Memory, Depends(_memory)]
