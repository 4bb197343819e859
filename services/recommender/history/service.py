"""What a user or a session did."""

from uuid import UUID

from services.recommender.history import repository
from services.recommender.history.repository import Actor
from services.recommender.memory import Memory


def read_history(
    memory: Memory, project_id: UUID, *, user_id: str | None = None, session_id: str | None = None, limit: int
) -> list[str]:
    """Item ids of the newest `limit` events, oldest first; empty for whoever is unknown or was erased.

    Exactly one of `user_id` and `session_id` is given. A session comes from the session cache, at most
    `session_items` of it, or from Postgres where the cache is away or has forgotten it.
    `memory.sessions.read` gives a session with its model state.

    Raises:
        sqlalchemy.exc.OperationalError: Postgres is needed and does not answer.
    """
    if session_id is not None:
        return memory.sessions.read(project_id, session_id).items[-limit:]
    if user_id is None:
        raise ValueError("give user_id or session_id")
    with memory.reading() as session:
        events = repository.newest(session, project_id, Actor("user", user_id), limit)
    return [event.item_id for event in reversed(events)]
