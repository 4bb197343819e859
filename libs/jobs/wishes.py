"""What a user may ask of a job that exists: cancel, pause, resume."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from libs.database.tables import Job
from libs.jobs.dependencies import end
from libs.jobs.errors import GroupNotFound, InvalidMove
from libs.jobs.moves import lock, move, queue_up
from libs.jobs.states import ACTIVE, TERMINAL, JobStatus


def cancel(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Cancel at once, or have the running attempt write its last checkpoint and end. Asking twice is harmless.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has ended.
    """
    job = lock(session, job_id, project_id)
    _cancel(session, job)
    return job


def cancel_group(session: Session, project_id: UUID, group_id: UUID) -> int:
    """Cancel every job of a group that has not ended; how many that were.

    Raises:
        GroupNotFound: there is no such group.
    """
    members = select(Job).where(Job.group_id == group_id, Job.project_id == project_id)
    jobs = session.scalars(members.order_by(Job.created_at, Job.id).with_for_update()).all()
    if not jobs:
        raise GroupNotFound(group_id)
    live = [job for job in jobs if job.status not in TERMINAL]
    for job in live:
        if job.status not in TERMINAL:  # cancelling one cancels what waits for it
            _cancel(session, job)
    return len(live)


def _cancel(session: Session, job: Job) -> None:
    if job.status == JobStatus.CANCELLING:
        return
    if job.status in ACTIVE:
        move(session, job, JobStatus.CANCELLING)
    else:
        end(session, job, JobStatus.CANCELLED)


def pause(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Take the job out of the queue, or have the running attempt write a checkpoint and give its slot back.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has ended, is being cancelled, or waits for other jobs.
    """
    job = lock(session, job_id, project_id)
    if job.status in (JobStatus.PAUSING, JobStatus.PAUSED):
        return job
    running = job.status in (JobStatus.STARTING, JobStatus.RUNNING)
    move(session, job, JobStatus.PAUSING if running else JobStatus.PAUSED)
    return job


def resume(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Queue a paused job again; it goes on from its newest checkpoint.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it is not paused.
    """
    job = lock(session, job_id, project_id)
    if job.status != JobStatus.PAUSED:
        raise InvalidMove(job.id, JobStatus(job.status), JobStatus.QUEUED, "Only a paused job is resumed.")
    queue_up(session, job)
    return job
