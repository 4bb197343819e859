"""What a user or a session did."""

from uuid import UUID

from libs.database.tables import UserEvent
from libs.web.paging import Page, Position, decode_cursor, encode_cursor
from libs.web.problems import UnavailableError
from services.recommender.history import repository
from services.recommender.history.repository import Actor
from services.recommender.history.schemas import PastEvent
from services.recommender.memory import Memory

_FLUSH_S = 5.0


def items_of_user(memory: Memory, project_id: UUID, user_id: str, limit: int) -> list[str]:
    """Item ids of the newest `limit` events, oldest first; empty for whoever is unknown or was erased.

    Raises:
        sqlalchemy.exc.OperationalError: Postgres does not answer.
    """
    with memory.reading() as session:
        return list(reversed(repository.newest_items(session, project_id, user_id, limit)))


def history_page(memory: Memory, project_id: UUID, actor: Actor, cursor: str | None, limit: int) -> Page[PastEvent]:
    """A page of the actor's events, newest first."""
    listing, filters = f"{actor.kind} history", {"id": actor.id}
    position = decode_cursor(cursor, listing, filters)
    after = (position.created_at, position.id.int) if position else None
    with memory.reading() as session:
        rows = repository.newest(session, project_id, actor, limit + 1, after)
    kept, following = rows[:limit], None
    if len(rows) > limit:
        last = Position(kept[-1].occurred_at, UUID(int=kept[-1].id))
        following = encode_cursor(last, listing, filters)
    return Page(items=[_to_event(row) for row in kept], next_cursor=following)


def erase(memory: Memory, project_id: UUID, actor: Actor) -> None:
    """Delete all that is stored of a user, or of a session; they are unknown from then on.

    Raises:
        UnavailableError: recommendations of this process that wait to be written could not be, and may be theirs.
    """
    if not memory.recorder.flush(_FLUSH_S):
        raise UnavailableError("What waits to be written could not be written; nothing was erased. Try again shortly.")
    with memory.writing() as session:
        sessions = repository.erase(session, project_id, actor)
    memory.sessions.forget(project_id, sessions)


def _to_event(row: UserEvent) -> PastEvent:
    return PastEvent(
        item_id=row.item_id,
        type=row.type,
        timestamp=row.occurred_at,
        user_id=row.user_id,
        session_id=row.session_id,
    )
