"""Messages on their way to the broker. A row is deleted in the transaction in which it was published."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, Outbox


def post(session: Session, job: Job) -> None:
    """Have the relay publish a queued job's id once this transaction is committed."""
    session.execute(insert(Outbox).values(job_id=job.id, queue=job.queue))


def publish(session: Session, send: Callable[[UUID, str], None], limit: int = 100) -> int:
    """Hand up to `limit` messages, oldest first, to `send(job_id, queue)`; how many that were.

    When `send` raises, the caller rolls back and the rows stay: a message may come twice, never not at all.
    """
    oldest = select(Outbox).order_by(Outbox.id).limit(limit).with_for_update(skip_locked=True)
    rows = session.scalars(oldest).all()
    for row in rows:
        send(row.job_id, row.queue)
    session.execute(delete(Outbox).where(Outbox.id.in_([row.id for row in rows])))
    return len(rows)
