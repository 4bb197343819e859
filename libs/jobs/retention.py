"""Forgetting old jobs. Models and data sets they made stay; files nobody refers to any more are collected by gc."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from libs.database.tables import Artifact, Job, JobCheckpoint, JobDependency
from libs.jobs.errors import InvalidMove
from libs.jobs.moves import lock
from libs.jobs.states import TERMINAL, JobStatus


def delete_job(session: Session, project_id: UUID, job_id: UUID) -> None:
    """Delete a job that has ended, with its history and artifact rows.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has not ended.
    """
    job = lock(session, job_id, project_id)
    if job.status not in TERMINAL:
        hint = "Cancel it first; a job is deleted when it has ended."
        raise InvalidMove(job.id, JobStatus(job.status), JobStatus.CANCELLED, hint)
    _delete(session, [job.id])


def delete_ended(session: Session, older_than_s: float, limit: int = 500) -> int:
    """Delete up to `limit` jobs that ended `older_than_s` ago and that no live job waits for; how many."""
    before = func.clock_timestamp() - timedelta(seconds=older_than_s)
    live = select(Job.id).where(Job.status.not_in(TERMINAL)).scalar_subquery()
    needed = select(JobDependency).where(JobDependency.depends_on == Job.id, JobDependency.job_id.in_(live)).exists()
    ended = select(Job.id).where(Job.status.in_(TERMINAL), Job.finished_at < before, ~needed)
    ids = list(session.scalars(ended.order_by(Job.finished_at).limit(limit).with_for_update(skip_locked=True)))
    _delete(session, ids)
    return len(ids)


def _delete(session: Session, ids: list[UUID]) -> None:
    """Checkpoint files shared with a retried job keep their artifact row."""
    session.execute(update(Job).where(Job.parent_id.in_(ids)).values(parent_id=None))
    session.execute(delete(JobCheckpoint).where(JobCheckpoint.job_id.in_(ids)))
    shared = select(JobCheckpoint).where(JobCheckpoint.artifact_id == Artifact.id).exists()
    session.execute(delete(Artifact).where(Artifact.job_id.in_(ids), ~shared))
    session.execute(delete(Job).where(Job.id.in_(ids)))
