"""Messages on their way to the broker. A row is deleted in the transaction in which it was published."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, Outbox
from libs.origin import Origin


def post(session: Session, job: Job) -> None:
    """Have the relay publish a queued job's id once this transaction is committed."""
    session.execute(insert(Outbox).values(job_id=job.id, queue=job.queue))


def post_all(session: Session, job_ids: Sequence[UUID]) -> None:
    """The same of several queued jobs."""
    jobs = select(Job.id, Job.queue).where(Job.id.in_(job_ids))
    session.execute(insert(Outbox).from_select(["job_id", "queue"], jobs))


@dataclass(frozen=True, slots=True)
class Message:
    """A job to be rung for, and where it comes from."""

    job_id: UUID
    queue: str
    origin: Origin


def publish(session: Session, send: Callable[[Message], None], limit: int = 100) -> int:
    """Hand up to `limit` messages, oldest first, to `send`; how many that were.

    When `send` raises, the caller rolls back and the rows stay: a message may come twice, never not at all.
    """
    found = select(Outbox.id, Outbox.job_id, Outbox.queue, Job.request_id, Job.traceparent).join(Job)
    oldest = found.order_by(Outbox.id).limit(limit).with_for_update(skip_locked=True, of=Outbox)
    rows = session.execute(oldest).all()
    for row in rows:
        send(Message(row.job_id, row.queue, Origin(row.request_id or "", row.traceparent)))
    session.execute(delete(Outbox).where(Outbox.id.in_([row.id for row in rows])))
    return len(rows)
