"""Puts right what a crash left behind. Any number of reapers may run: rows are locked, busy ones passed over."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from libs.database.tables import Job, Outbox
from libs.jobs import dependencies, outbox
from libs.jobs.moves import close_attempt, each, locked, move, queue_up
from libs.jobs.queue import failure_reason
from libs.jobs.states import ACTIVE, ExitReason, JobStatus

MOST_RUNG = 1000
"""Jobs that one look rings for again."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """How many jobs were touched."""

    lost: int
    retried: int
    settled: int
    cancelled: int


def reap(session: Session, limit: int = 100) -> Reaped:
    """One look at leases that ran out, waits that are over, dependencies that have ended, and jobs nobody needs."""
    return Reaped(
        lost=_reap_lost(session, limit),
        retried=_queue_due(session, limit),
        settled=dependencies.settle_all(session, limit),
        cancelled=dependencies.cancel_needless(session, limit),
    )


def _reap_lost(session: Session, limit: int) -> int:
    expired = select(Job).where(Job.status.in_(ACTIVE), Job.lease_expires_at < func.clock_timestamp())
    lost = dependencies.lock_free(session, expired, limit)
    return each(session, lost, lambda job: _lose(session, job))


def _lose(session: Session, job: Job) -> None:
    """The worker of this attempt is gone: the job is queued again, or gets what was wished of it."""
    reason = ExitReason.WORKER_LOST
    error = {"error": reason.value, "message": f"worker {job.worker_id} did not renew its lease"}
    close_attempt(session, job, reason, error)
    if job.status == JobStatus.CANCELLING:
        dependencies.end(session, job, JobStatus.CANCELLED, reason, cause=reason)
    elif job.status == JobStatus.PAUSING:
        move(session, job, JobStatus.PAUSED, reason)
    elif job.attempts_used < job.max_attempts:
        queue_up(session, job, reason)
    else:
        job.error = error
        dependencies.end(session, job, JobStatus.FAILED, failure_reason(job, reason, retryable=True), cause=reason)


def _queue_due(session: Session, limit: int) -> int:
    due = select(Job).where(Job.status == JobStatus.RETRY_WAIT, Job.not_before <= func.clock_timestamp())
    jobs = session.scalars(locked(due.order_by(Job.not_before).limit(limit), skip=True)).all()
    return each(session, jobs, lambda job: queue_up(session, job))


def backlog(session: Session) -> dict[str, int]:
    """Queue → queued jobs whose message was published, that is: messages the broker should hold at least."""
    unpublished = select(Outbox).where(Outbox.job_id == Job.id).exists()
    counted = select(Job.queue, func.count()).where(Job.status == JobStatus.QUEUED, ~unpublished)
    return dict(session.execute(counted.group_by(Job.queue)).all())


def ring_again(session: Session, queue: str, missing: int, older_than_s: float) -> list[UUID]:
    """Ring for up to `missing` queued jobs that were rung `older_than_s` ago and that nobody claimed: lost messages.

    At most `MOST_RUNG` of them: the next look rings for more.
    """
    before = func.clock_timestamp() - timedelta(seconds=older_than_s)
    unpublished = select(Outbox).where(Outbox.job_id == Job.id).exists()
    silent = select(Job.id).where(
        Job.status == JobStatus.QUEUED, Job.queue == queue, Job.rung_at < before, ~unpublished
    )
    oldest = silent.order_by(Job.rung_at).limit(min(missing, MOST_RUNG))
    ids = session.scalars(locked(oldest, skip=True)).all()
    session.execute(update(Job).where(Job.id.in_(ids)).values(rung_at=func.clock_timestamp()))
    outbox.post_all(session, ids)
    return list(ids)
