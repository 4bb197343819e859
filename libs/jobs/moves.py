"""The one way a job changes its state: lock the row, check the table of moves, write the event."""

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from libs.database.engine import is_transient
from libs.database.tables import Job, JobAttempt, Json
from libs.jobs import counts, events, outbox
from libs.jobs.errors import InvalidMove, JobNotFound, LeaseLost
from libs.jobs.states import ACTIVE, ALLOWED_MOVES, TERMINAL, ExitReason, JobStatus

log = structlog.get_logger()
T = TypeVar("T")


def locked(jobs: Select[T], *, skip: bool = False) -> Select[T]:
    """The query that locks the jobs it finds until the transaction ends, or passes over those somebody else has locked.

    Not `FOR UPDATE`: a transaction that updates a job twice shares the key of its parent's row, and two such that then
    lock the parent would wait for each other.
    """
    return jobs.with_for_update(of=Job, key_share=True, skip_locked=skip)


def lock(session: Session, job_id: UUID, project_id: UUID | None = None) -> Job:
    """The job, its row locked until the transaction ends.

    Raises:
        JobNotFound: it does not exist, or belongs to another project.
    """
    job = session.scalar(locked(select(Job).where(Job.id == job_id)).execution_options(populate_existing=True))
    if job is None or (project_id is not None and job.project_id != project_id):
        raise JobNotFound(job_id)
    return job


def lock_all(session: Session, job_ids: Collection[UUID]) -> list[Job]:
    """Those of the jobs that exist, locked, oldest first.

    Whoever needs several locks takes them by one call of this: in one order, no two wait for each other.
    """
    return list(session.scalars(_oldest_first(job_ids)))


def lock_free(session: Session, job_ids: Collection[UUID], beside: Mapping[UUID, Set[UUID]]) -> set[UUID]:
    """Lock jobs, each with those beside it (job → others), where nobody else has locked one of them.

    Returns:
        Which of `job_ids`; this never waits.
    """
    locked_ones = {job.id for job in session.scalars(_oldest_first({*job_ids}.union(*beside.values()), skip=True))}
    return {job_id for job_id in job_ids if locked_ones >= {job_id, *beside.get(job_id, ())}}


def _oldest_first(job_ids: Collection[UUID], *, skip: bool = False) -> Select[Job]:
    found = locked(select(Job).where(Job.id.in_(job_ids)).order_by(Job.created_at, Job.id), skip=skip)
    return found.execution_options(populate_existing=True)


def each(session: Session, jobs: Iterable[Job], change: Callable[[Job], object]) -> int:
    """Change locked jobs, each by itself; how many that were.

    One that cannot be changed is logged and left as it is: it must not keep the others from being put right.

    Raises:
        sqlalchemy.exc.DBAPIError: Postgres is away.
    """
    changed = 0
    for job in jobs:
        job_id = job.id
        try:
            with session.begin_nested():
                change(job)
            changed += 1
        except Exception as error:
            if isinstance(error, DBAPIError) and is_transient(error):
                raise
            log.exception("job_not_put_right", job_id=str(job_id))
    return changed


def lock_attempt(session: Session, job_id: UUID, epoch: int) -> Job:
    """The job, locked, if `epoch` is still its running attempt: the fence before every write of a worker.

    Raises:
        LeaseLost: the attempt was reaped, superseded, or has ended.
    """
    running = select(Job).where(Job.id == job_id, Job.epoch == epoch, Job.status.in_(ACTIVE))
    job = session.scalar(locked(running).execution_options(populate_existing=True))
    if job is None:
        raise LeaseLost(job_id, epoch)
    return job


def move(session: Session, job: Job, to: JobStatus, reason: str | None = None) -> None:
    """Change the state of a locked job and write the event. Terminal states go through `dependencies.end`.

    Raises:
        InvalidMove: the table of moves does not have it.
    """
    old = JobStatus(job.status)
    if to not in ALLOWED_MOVES[old]:
        raise InvalidMove(job.id, old, to, _hint(old))
    job.status, job.status_reason = to.value, reason
    if to not in ACTIVE:
        job.lease_expires_at = job.worker_id = None
    events.append(session, job, [("status", {"from": old, "to": to, "reason": reason, "epoch": job.epoch})])


def _hint(status: JobStatus) -> str:
    return "It has ended; submit it anew with retry or clone." if status in TERMINAL else ""


def queue_up(session: Session, job: Job, reason: str | None = None) -> None:
    """Make a locked job claimable and have the relay ring for it."""
    move(session, job, JobStatus.QUEUED, reason)
    job.not_before = None
    job.queued_at = func.clock_timestamp()
    ring(session, job)


def ring(session: Session, job: Job) -> None:
    """Have the relay publish the job's id."""
    job.rung_at = func.clock_timestamp()
    session.flush()
    outbox.post(session, job)


def close_attempt(
    session: Session,
    job: Job,
    reason: ExitReason,
    error: Json | None = None,
    exit_code: int | None = None,
) -> None:
    """Write down how the job's newest attempt ended."""
    attempt = session.get_one(JobAttempt, (job.id, job.epoch))
    attempt.finished_at = func.clock_timestamp()
    attempt.exit_reason, attempt.error, attempt.exit_code = reason.value, error, exit_code
    session.flush()
    session.refresh(attempt, ["finished_at"])
    assert attempt.finished_at is not None  # as just written
    seconds = (attempt.finished_at - attempt.started_at).total_seconds()
    counts.attempt_ended(session, job.method, reason, seconds)
