"""Forgetting what users did, what was recommended to them, and what requests were answered, once it is old.

Never commits. Ids of events and recommendations grow with arrival: the oldest rows are the first of the primary key, so
no index on time is kept for this alone.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from libs.database.tables import IdempotencyKey, Recommendation, UserEvent

BATCH = 5000
"""Rows deleted in one transaction."""


def delete_old_events(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` events, of all projects, that arrived `older_than_s` ago; how many."""
    return _delete_oldest(session, UserEvent, UserEvent.received_at, older_than_s, limit)


def delete_old_recommendations(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` recommendations of `older_than_s` ago, of all projects, and their feedback; how many."""
    return _delete_oldest(session, Recommendation, Recommendation.created_at, older_than_s, limit)


def delete_old_answers(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` answers remembered under an `Idempotency-Key` `older_than_s` ago, of all projects; how many.

    A key that is being repeated just now is left for the next time.
    """
    before = func.clock_timestamp() - timedelta(seconds=older_than_s)
    old = select(IdempotencyKey).where(IdempotencyKey.created_at < before).order_by(IdempotencyKey.created_at)
    rows = old.with_only_columns(IdempotencyKey.project_id, IdempotencyKey.key).limit(limit)
    doomed = delete(IdempotencyKey).where(
        tuple_(IdempotencyKey.project_id, IdempotencyKey.key).in_(rows.with_for_update(skip_locked=True))
    )
    gone = doomed.returning(IdempotencyKey.key).execution_options(synchronize_session=False)
    return len(session.scalars(gone).all())


def _delete_oldest(
    session: Session, table: Any, time: InstrumentedAttribute[Any], older_than_s: float, limit: int
) -> int:
    first = select(table.id, time).order_by(table.id).limit(limit).subquery()
    old = select(first.c.id).where(first.c[time.key] < func.clock_timestamp() - timedelta(seconds=older_than_s))
    doomed = delete(table).where(table.id.in_(old)).returning(table.id)
    return len(session.scalars(doomed.execution_options(synchronize_session=False)).all())
