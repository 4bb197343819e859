"""Reads of jobs for lists, streams and tables. What changes a job is in `libs.jobs`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Row, cast, func, select
from sqlalchemy.orm import Session

from libs.database.tables import Artifact, Job, JobMetric, Worker
from libs.web.paging import Position
from services.gateway.repository import newest_first

_SUMMARY = (
    Job.id,
    Job.name,
    Job.method,
    Job.status,
    Job.status_reason,
    Job.queue,
    Job.priority,
    Job.group_id,
    Job.schedule,
    Job.progress,
    Job.progress_note,
    Job.created_at,
    Job.started_at,
    Job.finished_at,
)
_WORKER_IS_GONE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows; what is None or empty does not matter."""

    status: tuple[str, ...] = ()
    method: str | None = None
    name: str | None = None
    group: UUID | None = None
    schedule: str | None = None


def page(
    session: Session, project_id: UUID, wanted: JobFilter, after: Position | None, count: int
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Summaries of the project's jobs, newest first."""
    query = select(*_SUMMARY).where(Job.project_id == project_id)
    if wanted.status:
        query = query.where(Job.status.in_(wanted.status))
    if wanted.method is not None:
        query = query.where(Job.method == wanted.method)
    if wanted.name is not None:
        query = query.where(Job.name == wanted.name)
    if wanted.group is not None:
        query = query.where(Job.group_id == wanted.group)
    if wanted.schedule is not None:
        query = query.where(Job.schedule == wanted.schedule)
    return session.execute(newest_first(query, Job, after, count)).all()


def status_of(session: Session, project_id: UUID, job_id: UUID) -> Row[str, int] | None:
    """A job's state and the number of its last event."""
    query = select(Job.status, Job.last_event_seq).where(Job.id == job_id, Job.project_id == project_id)
    return session.execute(query).one_or_none()


def members(session: Session, project_id: UUID, group_id: UUID) -> Sequence[Job]:
    """The jobs of a group in the order they were submitted."""
    query = select(Job).where(Job.group_id == group_id, Job.project_id == project_id)
    return session.scalars(query.order_by(Job.created_at, Job.id)).all()


def thinned_metrics(
    session: Session, job_id: UUID, names: Sequence[str], points: int
) -> Sequence[Row[str, int, float, int]]:
    """(name, step, value, stored) by name and step: of each metric every k-th value, counted from the last one.

    k is the least that leaves at most `points` values; Postgres does it, so that a long job costs no memory here.
    """
    ranked = select(
        JobMetric.name,
        JobMetric.step,
        JobMetric.value,
        func.row_number().over(partition_by=JobMetric.name, order_by=JobMetric.step).label("place"),
        func.count().over(partition_by=JobMetric.name).label("stored"),
    ).where(JobMetric.job_id == job_id)
    if names:
        ranked = ranked.where(JobMetric.name.in_(names))
    rows = ranked.subquery()
    stride = cast(func.ceil(rows.c.stored / float(points)), Integer)
    kept = (rows.c.stored - rows.c.place) % stride == 0
    query = select(rows.c.name, rows.c.step, rows.c.value, rows.c.stored).where(kept)
    return session.execute(query.order_by(rows.c.name, rows.c.step)).all()


def artifacts(session: Session, job_id: UUID) -> Sequence[Artifact]:
    """The files of a job by kind and name."""
    query = select(Artifact).where(Artifact.job_id == job_id)
    return session.scalars(query.order_by(Artifact.kind, Artifact.name, Artifact.created_at)).all()


def artifact(session: Session, job_id: UUID, artifact_id: UUID) -> Artifact | None:
    """One file of a job."""
    return session.scalar(select(Artifact).where(Artifact.job_id == job_id, Artifact.id == artifact_id))


def newest_artifact(session: Session, job_id: UUID, name: str) -> Artifact | None:
    """The newest file of a job with this name."""
    query = select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name)
    return session.scalar(query.order_by(Artifact.created_at.desc()).limit(1))


def live_workers(session: Session, queue: str) -> int:
    """Workers that take jobs of `queue` and have reported lately."""
    lately = Worker.heartbeat_at > func.now() - _WORKER_IS_GONE_AFTER
    return session.scalar(select(func.count()).where(Worker.queues.contains([queue]), lately)) or 0
