"""The history a request is about, but for sessions."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from libs.serving.errors import InputProblem, RequestError
from libs.web.timing import span
from services.recommender.history.service import items_of_user
from services.recommender.memory import Memory
from services.recommender.recommendations.schemas import Asked, RawEvent


def history_of(memory: Memory, project_id: UUID, asked: Asked, most: int) -> list[str]:
    """Item ids, oldest first; empty when the request names nobody or nobody did anything.

    Args:
        most: newest events of a user that are read.

    Raises:
        RequestError: an event lies in the future.
        sqlalchemy.exc.OperationalError: Postgres is needed and does not answer.
    """
    if asked.items is not None:
        return asked.items
    if asked.events is not None:
        return _ordered(asked.events, memory.settings.clock_skew_s)
    if asked.user_id is None:
        return []
    with span("history"):
        return items_of_user(memory, project_id, asked.user_id, most)


def _ordered(events: list[RawEvent], clock_skew_s: float) -> list[str]:
    latest = datetime.now(UTC) + timedelta(seconds=clock_skew_s)
    ahead = [row for row, event in enumerate(events) if event.timestamp is not None and event.timestamp > latest]
    if ahead:
        raise RequestError(*(InputProblem(f"/events/{row}/timestamp", "This is in the future.") for row in ahead[:10]))
    timed = [(event.timestamp, event.item_id) for event in events if event.timestamp is not None]
    if len(timed) == len(events):
        return [item_id for _, item_id in sorted(timed, key=lambda one: one[0])]
    return [event.item_id for event in events]
