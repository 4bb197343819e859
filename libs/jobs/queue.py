"""A worker's side of the queue: claim, keep the lease, end the attempt. Times are Postgres's own.

Every function of a running attempt takes its `epoch` and raises `LeaseLost` when that is no longer the job's.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from libs.database.tables import Job, JobAttempt, Json
from libs.jobs import counts, events
from libs.jobs.dependencies import end
from libs.jobs.errors import LeaseLost
from libs.jobs.moves import close_attempt, lock_attempt, locked, move, queue_up
from libs.jobs.states import ACTIVE, ExitReason, JobStatus

_WISHES = {JobStatus.CANCELLING: "cancel", JobStatus.PAUSING: "pause"}
_AFTER_STOP = {
    JobStatus.CANCELLING: (JobStatus.CANCELLED, ExitReason.CANCELLED),
    JobStatus.PAUSING: (JobStatus.PAUSED, ExitReason.PAUSED),
}


def claim(session: Session, rung: UUID, worker_id: UUID, lease_s: float) -> Job | None:
    """Take the most urgent job of the queue that `rung` was published on, or None when there is none.

    A message is a permission to take one job, not an address: so priorities count, and a message of a job that is
    gone still does its part.
    """
    queue = select(Job.queue).where(Job.id == rung).scalar_subquery()
    due = or_(Job.not_before.is_(None), Job.not_before <= func.clock_timestamp())
    first = (
        select(Job.id)
        .where(Job.status == JobStatus.QUEUED, Job.queue == queue, due)
        .order_by(Job.priority.desc(), Job.created_at, Job.id)
        .limit(1)
    )
    job_id = session.scalar(locked(first, skip=True))
    return None if job_id is None else _take(session, job_id, worker_id, lease_s)


def _take(session: Session, job_id: UUID, worker_id: UUID, lease_s: float) -> Job:
    job = session.get_one(Job, job_id, populate_existing=True)
    job.epoch += 1
    job.attempts_used += 1
    move(session, job, JobStatus.STARTING)
    job.worker_id = worker_id
    job.lease_expires_at = func.clock_timestamp() + timedelta(seconds=lease_s)
    job.started_at = func.coalesce(Job.started_at, func.clock_timestamp())
    attempt = JobAttempt(job_id=job.id, epoch=job.epoch, worker_id=worker_id)
    session.add(attempt)
    session.flush()
    session.refresh(job)
    counts.claimed(session, job.method)
    if job.queued_at is not None:
        counts.waited(session, job.queue, (attempt.started_at - job.queued_at).total_seconds())
    return job


def heartbeat(session: Session, job_id: UUID, epoch: int, lease_s: float) -> str | None:
    """Extend the lease; returns what is wished of the attempt: "cancel", "pause" or None.

    Raises:
        LeaseLost: the attempt is not the job's any more; stop it.
    """
    expiry = func.clock_timestamp() + timedelta(seconds=lease_s)
    running = update(Job).where(Job.id == job_id, Job.epoch == epoch, Job.status.in_(ACTIVE))
    status = session.scalar(running.values(lease_expires_at=expiry).returning(Job.status))
    if status is None:
        raise LeaseLost(job_id, epoch)
    return _WISHES.get(JobStatus(status))


def wish(session: Session, job_id: UUID, epoch: int) -> str | None:
    """What is wished of the attempt, without writing anything.

    Raises:
        LeaseLost: the attempt is not the job's any more; stop it.
    """
    running = select(Job.status).where(Job.id == job_id, Job.epoch == epoch, Job.status.in_(ACTIVE))
    status = session.scalar(running)
    if status is None:
        raise LeaseLost(job_id, epoch)
    return _WISHES.get(JobStatus(status))


def mark_running(session: Session, job_id: UUID, epoch: int, device: str) -> None:
    """The child process runs its method now. A wish that came before stays.

    Raises:
        LeaseLost: the attempt is not the job's any more.
    """
    job = lock_attempt(session, job_id, epoch)
    if job.status == JobStatus.STARTING:
        move(session, job, JobStatus.RUNNING)
    events.append(session, job, [("log", {"level": "info", "message": f"running on {device}", "fields": {}})])


def succeed(session: Session, job_id: UUID, epoch: int, result: Json) -> Job:
    """The attempt reached its end; whatever the transaction wrote beside it becomes visible with it.

    Raises:
        LeaseLost: the attempt is not the job's any more; roll back.
    """
    job = lock_attempt(session, job_id, epoch)
    if job.status == JobStatus.STARTING:
        move(session, job, JobStatus.RUNNING)
    job.result, job.error, job.progress = result, None, 1.0
    close_attempt(session, job, ExitReason.OK, exit_code=0)
    end(session, job, JobStatus.SUCCEEDED, cause=ExitReason.OK)
    return job


def fail(
    session: Session,
    job_id: UUID,
    epoch: int,
    reason: ExitReason,
    error: Json,
    *,
    exit_code: int | None = None,
    retryable: bool = True,
    backoff_s: float = 5.0,
) -> Job:
    """The attempt failed: tried again after `backoff_s`, doubled for each attempt before it, or failed for good.

    A job that was to be cancelled is cancelled; one that was to be paused is paused if it may be tried again.

    Raises:
        LeaseLost: the attempt is not the job's any more.
    """
    job = lock_attempt(session, job_id, epoch)
    close_attempt(session, job, reason, error, exit_code)
    job.error = error
    again = retryable and job.attempts_used < job.max_attempts
    if job.status == JobStatus.CANCELLING:
        end(session, job, JobStatus.CANCELLED, cause=reason)
    elif not again:
        end(session, job, JobStatus.FAILED, failure_reason(job, reason, retryable), cause=reason)
    elif job.status == JobStatus.PAUSING:
        move(session, job, JobStatus.PAUSED, reason)
    else:
        move(session, job, JobStatus.RETRY_WAIT, reason)
        job.not_before = func.clock_timestamp() + timedelta(seconds=backoff(job.attempts_used, backoff_s))
    return job


def backoff(attempts_used: int, first_s: float) -> float:
    """Wait in s before the next attempt: `first_s`, doubled each time, at most an hour."""
    return min(first_s * 2.0 ** min(attempts_used - 1, 30), 3600.0)


def failure_reason(job: Job, reason: ExitReason, retryable: bool) -> str:
    """Why a job failed for good, for people."""
    if retryable and job.max_attempts > 1:
        return f"{reason} (attempt {job.attempts_used} of {job.max_attempts})"
    return reason.value


def stop(session: Session, job_id: UUID, epoch: int, *, exit_code: int | None = None) -> Job:
    """The attempt stopped as it was told: cancelled, paused, or queued again because its worker shuts down.

    An attempt that was stopped is not counted against `max_attempts`.

    Raises:
        LeaseLost: the attempt is not the job's any more.
    """
    job = lock_attempt(session, job_id, epoch)
    to, reason = _AFTER_STOP.get(JobStatus(job.status), (JobStatus.QUEUED, ExitReason.SHUTDOWN))
    job.attempts_used -= 1
    close_attempt(session, job, reason, exit_code=exit_code)
    if to == JobStatus.CANCELLED:
        end(session, job, to, cause=reason)
    elif to == JobStatus.PAUSED:
        move(session, job, to)
    else:
        queue_up(session, job, "its worker was shut down")
    return job
