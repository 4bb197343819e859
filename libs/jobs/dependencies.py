"""Jobs that wait for jobs.

A waiting job is queued when everything it depends on has succeeded. It fails when one of them fails and is cancelled
when one of them is cancelled, and so do the jobs that wait for it. Rows are locked oldest first: a job is always
younger than what it depends on, so two transactions never wait for each other.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from libs.database.tables import Job, JobDependency
from libs.jobs import moves
from libs.jobs.states import TERMINAL, JobStatus

_MOST_QUOTED = 2000
"""Characters of another job's error that are repeated."""


def end(session: Session, job: Job, to: JobStatus, reason: str | None = None) -> None:
    """Move a locked job to a terminal state and settle every job that waits for it.

    Raises:
        InvalidMove: the job has ended already.
    """
    if to not in TERMINAL:
        raise ValueError(f"{to} is not a terminal state")
    moves.move(session, job, to, reason)
    job.finished_at = func.clock_timestamp()
    session.flush()
    for waiting in _waiting_for(session, job):
        settle(session, waiting)


def settle(session: Session, job: Job) -> bool:
    """Queue, fail or cancel a locked waiting job, as its dependencies say; whether it moved."""
    needed = select(Job).join(JobDependency, JobDependency.depends_on == Job.id)
    found = session.scalars(needed.where(JobDependency.job_id == job.id)).all()
    for wanted in (JobStatus.FAILED, JobStatus.CANCELLED):
        for other in found:
            if other.status == wanted:
                end(session, job, wanted, _because_of(other))
                return True
    if any(other.status != JobStatus.SUCCEEDED for other in found):
        return False
    moves.queue_up(session, job)
    return True


def _because_of(other: Job) -> str:
    message = (other.error or {}).get("message") if other.status == JobStatus.FAILED else None
    reason = f"job {other.id}, which it depends on, is {other.status}"
    return f"{reason}: {message[:_MOST_QUOTED]}" if message else reason


def settle_all(session: Session, limit: int = 100) -> int:
    """Settle waiting jobs with nothing left to wait for, or with something that failed; how many moved."""
    needed = aliased(Job)
    dependency = select(JobDependency).join(needed, needed.id == JobDependency.depends_on)
    of_job = dependency.where(JobDependency.job_id == Job.id)
    open_ones = of_job.where(needed.status.not_in(TERMINAL)).exists()
    broken = of_job.where(needed.status.in_((JobStatus.FAILED, JobStatus.CANCELLED))).exists()
    due = select(Job).where(Job.status == JobStatus.WAITING, broken | ~open_ones)
    locked = due.order_by(Job.created_at, Job.id).limit(limit).with_for_update(skip_locked=True, of=Job)
    jobs = session.scalars(locked.execution_options(populate_existing=True)).all()
    return sum(settle(session, job) for job in jobs if job.status == JobStatus.WAITING)


def _waiting_for(session: Session, job: Job) -> list[Job]:
    waiting = select(Job).join(JobDependency, JobDependency.job_id == Job.id)
    of_job = waiting.where(JobDependency.depends_on == job.id, Job.status == JobStatus.WAITING)
    locked = of_job.order_by(Job.created_at, Job.id).with_for_update(of=Job)
    return list(session.scalars(locked.execution_options(populate_existing=True)))
