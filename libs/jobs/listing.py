"""Reading jobs: one, a page of many, a group. Pages go by (created_at, id), so a list that grows loses nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, defer

from libs.database.tables import Job, JobAttempt
from libs.jobs.errors import GroupNotFound, JobNotFound


@dataclass(frozen=True, slots=True)
class Position:
    """The last job of a page; the next page begins behind it."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs a list shows; None: all."""

    status: Sequence[str] | None = None
    method: str | None = None
    group_id: UUID | None = None
    name: str | None = None


def find(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """The job.

    Raises:
        JobNotFound: it does not exist in this project.
    """
    job = session.scalar(select(Job).where(Job.id == job_id, Job.project_id == project_id))
    if job is None:
        raise JobNotFound(job_id)
    return job


def page(
    session: Session, project_id: UUID, *, limit: int = 50, behind: Position | None = None, only: Filter | None = None
) -> Sequence[Job]:
    """Up to `limit` jobs, newest first. Their specs, results and errors are loaded only when they are read."""
    only = only or Filter()
    wanted = select(Job).where(Job.project_id == project_id)
    if only.status is not None:
        wanted = wanted.where(Job.status.in_(only.status))
    if only.method is not None:
        wanted = wanted.where(Job.method == only.method)
    if only.group_id is not None:
        wanted = wanted.where(Job.group_id == only.group_id)
    if only.name is not None:
        wanted = wanted.where(Job.name == only.name)
    if behind is not None:
        wanted = wanted.where(tuple_(Job.created_at, Job.id) < tuple_(behind.created_at, behind.id))
    newest = wanted.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    return session.scalars(newest.options(defer(Job.spec), defer(Job.result), defer(Job.error))).all()


def group(session: Session, project_id: UUID, group_id: UUID) -> Sequence[Job]:
    """Every job of a group, oldest first, complete: what a table of seeds and settings is made of.

    Raises:
        GroupNotFound: there is no such group in this project.
    """
    members = select(Job).where(Job.group_id == group_id, Job.project_id == project_id)
    jobs = session.scalars(members.order_by(Job.created_at, Job.id)).all()
    if not jobs:
        raise GroupNotFound(group_id)
    return jobs


def attempts(session: Session, job_id: UUID) -> Sequence[JobAttempt]:
    """The history of a job's attempts, oldest first."""
    return session.scalars(select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.epoch)).all()
