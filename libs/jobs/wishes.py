"""What a user may ask of a job that exists: cancel, pause, resume.

Each passes on to the jobs that were made for it alone (its teacher, the runs it compares) and have not ended.
"""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from libs.database.tables import Job
from libs.jobs import dependencies
from libs.jobs.errors import GroupNotFound, InvalidMove, JobNotFound
from libs.jobs.moves import move, queue_up
from libs.jobs.states import TERMINAL, JobStatus


def cancel(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Cancel at once, or have the running attempt write its last checkpoint and end. Asking twice is harmless.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has ended.
    """
    job, others = _family(session, project_id, job_id)
    dependencies.cancel(session, job)
    for other in others:
        if other.status not in TERMINAL:  # cancelling one cancels what waits for it
            dependencies.cancel(session, other, f"job {job.id}, which it was made for, is cancelled")
    return job


def _family(session: Session, project_id: UUID, job_id: UUID) -> tuple[Job, list[Job]]:
    """A job and those that were made for it alone, locked."""
    found = select(Job.id).where(Job.id == job_id, Job.project_id == project_id)
    if session.scalar(found) is None:
        raise JobNotFound(job_id)
    jobs = dependencies.family(session, [job_id])
    mine = next((job for job in jobs if job.id == job_id), None)
    if mine is None:
        raise JobNotFound(job_id)
    return mine, [job for job in jobs if job.id != job_id]


def cancel_group(session: Session, project_id: UUID, group_id: UUID) -> int:
    """Cancel every job of a group that has not ended; how many that were, without those made for them.

    Raises:
        GroupNotFound: there is no such group.
    """
    members = session.scalars(select(Job.id).where(Job.group_id == group_id, Job.project_id == project_id)).all()
    jobs = dependencies.family(session, members)
    if not jobs:
        raise GroupNotFound(group_id)
    live = [job for job in jobs if job.group_id == group_id and job.status not in TERMINAL]
    made = [job for job in jobs if job.group_id != group_id]
    for job in live:
        if job.status not in TERMINAL:  # cancelling one cancels what waits for it
            dependencies.cancel(session, job)
    for job in made:
        if job.status not in TERMINAL:
            dependencies.cancel(session, job, f"group {group_id}, which it was made for, is cancelled")
    return len(live)


def pause(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Take the job out of the queue, or have the running attempt write a checkpoint and give its slot back.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has ended, or is being cancelled.
    """
    job, others = _family(session, project_id, job_id)
    _pause(session, job)
    for other in others:
        if other.status != JobStatus.CANCELLING:
            _pause(session, other)
    return job


def _pause(session: Session, job: Job) -> None:
    if job.status in (JobStatus.PAUSING, JobStatus.PAUSED):
        return
    running = job.status in (JobStatus.STARTING, JobStatus.RUNNING)
    move(session, job, JobStatus.PAUSING if running else JobStatus.PAUSED)


def resume(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """Queue a paused job again: it goes on from its newest checkpoint, or waits for what it waited for.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it, or a job that was made for it alone, is not paused (yet).
    """
    job, others = _family(session, project_id, job_id)
    if job.status != JobStatus.PAUSED:
        raise InvalidMove(job.id, JobStatus(job.status), JobStatus.QUEUED, "Only a paused job is resumed.")
    for one in others:
        if one.status == JobStatus.PAUSING:  # it would end as paused, and the job wait for it for ever
            hint = f"It was made for job {job.id} and is being paused: wait a moment."
            raise InvalidMove(one.id, JobStatus.PAUSING, JobStatus.QUEUED, hint)
    for one in (*others, job):
        if one.status == JobStatus.PAUSED:
            _resume(session, one)
    return job


def _resume(session: Session, job: Job) -> None:
    if job.epoch or not dependencies.needed(session, job.id):
        queue_up(session, job)
        return
    move(session, job, JobStatus.WAITING)
    session.flush()
    dependencies.settle(session, job)
