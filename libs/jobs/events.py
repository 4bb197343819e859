"""A job's history: rows numbered 1, 2, 3 … without a gap, written under the lock of the job's row."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, JobEvent

_ROWS_PER_STATEMENT = 2000

Entry = tuple[str, dict[str, Any]]
"""Kind and data of an event. Kinds: status, log, progress, metrics, checkpoint, model, dataset."""


def append(session: Session, job: Job, entries: Sequence[Entry]) -> int:
    """Add events to a job whose row this transaction has locked; the sequence number of the last one."""
    first = job.last_event_seq + 1
    job.last_event_seq += len(entries)
    rows = [
        {"job_id": job.id, "seq": seq, "kind": kind, "data": data}
        for seq, (kind, data) in enumerate(entries, start=first)
    ]
    session.flush()
    for chunk in chunks(rows):
        # One row, the usual case, by itself: a list of rows is compiled anew each time.
        session.execute(insert(JobEvent).values(chunk if len(chunk) > 1 else chunk[0]))
    return job.last_event_seq


def chunks(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows for one multi-row statement each, within Postgres's 65,535 parameters.

    Never a list of parameters: psycopg sends that as a pipeline, and while a pipeline is open none of Postgres's
    timeouts ends the session of a client that froze, which would keep its row locks.
    """
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        yield rows[start : start + _ROWS_PER_STATEMENT]


def after(session: Session, job_id: UUID, seq: int, limit: int = 1000) -> Sequence[JobEvent]:
    """Events with a higher number than `seq`, in order."""
    wanted = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return session.scalars(wanted.order_by(JobEvent.seq).limit(limit)).all()
