"""A job's history: rows numbered 1, 2, 3 … without a gap, written under the lock of the job's row."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, JobEvent

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
    if rows:
        session.flush()
        session.execute(insert(JobEvent), rows)
    return job.last_event_seq


def after(session: Session, job_id: UUID, seq: int, limit: int = 1000) -> Sequence[JobEvent]:
    """Events with a higher number than `seq`, in order."""
    wanted = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > seq)
    return session.scalars(wanted.order_by(JobEvent.seq).limit(limit)).all()
