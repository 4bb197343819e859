"""Forgetting what users did, and what was recommended to them, once it is old. Never commits.

Ids grow with arrival: the oldest rows are the first of the primary key, so no index on time is kept for this alone.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from libs.database.tables import Recommendation, UserEvent

BATCH = 5000
"""Rows deleted in one transaction."""


def delete_old_events(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` events, of all projects, that arrived `older_than_s` ago; how many."""
    return _delete_oldest(session, UserEvent, UserEvent.received_at, older_than_s, limit)


def delete_old_recommendations(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` recommendations of `older_than_s` ago, of all projects, and their feedback; how many."""
    return _delete_oldest(session, Recommendation, Recommendation.created_at, older_than_s, limit)


def _delete_oldest(
    session: Session, table: Any, time: InstrumentedAttribute[Any], older_than_s: float, limit: int
) -> int:
    first = select(table.id, time).order_by(table.id).limit(limit).subquery()
    old = select(first.c.id).where(first.c[time.key] < func.clock_timestamp() - timedelta(seconds=older_than_s))
    doomed = delete(table).where(table.id.in_(old)).returning(table.id)
    return len(session.scalars(doomed.execution_options(synchronize_session=False)).all())
