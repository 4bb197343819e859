"""Reads of jobs that only pages need."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from libs.database.tables import (
    Artifact,
    Dataset,
    DatasetVersion,
    JobAttempt,
    JobCheckpoint,
    JobEvent,
    Model,
    ModelVersion,
    Worker,
)


def latest_moves(session: Session, job_id: UUID, count: int) -> Sequence[JobEvent]:
    """The newest changes of a job's state, oldest first."""
    moves = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.kind == "status")
    found = session.scalars(moves.order_by(JobEvent.seq.desc()).limit(count)).all()
    return found[::-1]


def checkpoints(session: Session, job_id: UUID) -> Sequence[Row[JobCheckpoint, Artifact]]:
    """The checkpoints that are kept, newest first, each with its file."""
    both = select(JobCheckpoint, Artifact).join(Artifact, Artifact.id == JobCheckpoint.artifact_id)
    newest = both.where(JobCheckpoint.job_id == job_id).order_by(JobCheckpoint.epoch.desc(), JobCheckpoint.step.desc())
    return session.execute(newest).all()


def hosts(session: Session, job_id: UUID) -> dict[int, str]:
    """Epoch → host of the worker that has or had the attempt, as far as its row is still there."""
    query = select(JobAttempt.epoch, Worker.host).join(Worker, Worker.id == JobAttempt.worker_id)
    return {row.epoch: row.host for row in session.execute(query.where(JobAttempt.job_id == job_id))}


def ready_datasets(session: Session, project_id: UUID, kind: str | None, count: int) -> Sequence[str]:
    """`name@version` of the newest ready version of each data set of a kind, the newest data sets first."""
    query = (
        select(Dataset.name, func.max(DatasetVersion.version))
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None), DatasetVersion.status == "ready")
        .group_by(Dataset.id)
        .order_by(Dataset.created_at.desc(), Dataset.id.desc())
    )
    if kind is not None:
        query = query.where(DatasetVersion.kind == kind)
    return [f"{name}@{version}" for name, version in session.execute(query.limit(count))]


def ready_models(
    session: Session, project_id: UUID, task: str | None, count: int, architecture: str | None = None
) -> Sequence[str]:
    """`name@version` of the newest ready version of each model for a task, the newest models first.

    Args:
        architecture: of those alone.
    """
    query = (
        select(Model.name, func.max(ModelVersion.version))
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(Model.project_id == project_id, Model.deleted_at.is_(None), ModelVersion.status == "ready")
        .group_by(Model.id)
        .order_by(Model.created_at.desc(), Model.id.desc())
    )
    if task is not None:
        query = query.where(ModelVersion.task == task)
    if architecture is not None:
        query = query.where(ModelVersion.bundle["architecture"].astext == architecture)
    return [f"{name}@{version}" for name, version in session.execute(query.limit(count))]
