"""Taking events in: Postgres first, then the session cache."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError

from libs.database.engine import each_statement
from libs.web.timing import span
from services.recommender.events import repository
from services.recommender.events.reading import check_time, read_events
from services.recommender.events.repository import AddedEvent, NewEvent
from services.recommender.events.schemas import Event, Ingested
from services.recommender.memory import Memory
from services.recommender.sessions.store import SessionEvent

_TRIES = 3


def ingest(memory: Memory, project_id: UUID, content: bytes, media_type: str) -> Ingested:
    """Store the events of a body, all or none; they are committed when this returns.

    Raises:
        UnprocessableError, TooLargeError, UnsupportedMediaTypeError: as `read_events`; nothing is stored.
    """
    now = datetime.now(UTC)
    latest = now + timedelta(seconds=memory.settings.clock_skew_s)
    events = read_events(content, media_type, memory.settings.max_events, latest)
    added = _stored(memory, project_id, [_row(project_id, event, now) for event in events])
    memory.sessions.append(project_id, _of_sessions(added))
    return Ingested(accepted=len(added), duplicates=len(events) - len(added))


def store(memory: Memory, project_id: UUID, events: Sequence[Event], place: str) -> list[SessionEvent]:
    """Store events, all or none. Those of sessions that are new: whoever asked brings them to the session cache.

    Args:
        place: the field of the request that they stand in.

    Raises:
        UnprocessableError: a timestamp lies in the future or before 1970; a pointer to it.
    """
    now = datetime.now(UTC)
    latest = now + timedelta(seconds=memory.settings.clock_skew_s)
    for row, event in enumerate(events):
        check_time((place, row), event, latest)
    return list(_of_sessions(_stored(memory, project_id, [_row(project_id, event, now) for event in events])))


def _of_sessions(added: Iterable[AddedEvent]) -> Iterator[SessionEvent]:
    for one in added:
        if one.session_id:
            yield SessionEvent(one.session_id, one.id, one.item_id, one.occurred_at)


def _stored(memory: Memory, project_id: UUID, rows: Sequence[NewEvent]) -> list[AddedEvent]:
    """Those that are new. Of the others nobody knows whether whoever stored them lived to tell the session cache."""
    added = _insert(memory, project_id, rows)
    if len(added) < len(rows):
        missed = Counter(row.session_id for row in rows) - Counter(one.session_id for one in added)
        memory.sessions.drop(project_id, [session_id for session_id in missed if session_id])
    return added


def _insert(memory: Memory, project_id: UUID, rows: Sequence[NewEvent]) -> list[AddedEvent]:
    """Two requests with the same event ids in different orders wait for each other; Postgres ends one: again."""
    for left in reversed(range(_TRIES)):
        try:
            with span("db"), each_statement(memory.engine) as connection:
                return repository.insert(connection, project_id, rows)
        except OperationalError as error:
            if not left or not isinstance(error.orig, DeadlockDetected):
                raise
    raise AssertionError("the last try returns or raises")


def _row(project_id: UUID, event: Event, now: datetime) -> NewEvent:
    key = uuid4() if event.event_id is None else event_key(project_id, event.event_id)
    return NewEvent(key, event.user_id, event.session_id, event.item_id, event.type, event.timestamp or now)


def event_key(project_id: UUID, event_id: str) -> UUID:
    """What an event is known by: 128 bits of SHA-256, so that two ids never meet by chance."""
    return UUID(bytes=hashlib.sha256(project_id.bytes + event_id.encode()).digest()[:16])
