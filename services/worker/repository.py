"""SQL of the worker and the relay that belongs to neither the queue nor the registry."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from libs.database.tables import DatasetVersion, Job
from libs.jobs.states import TERMINAL, JobStatus


def validated_version(session: Session, job_id: UUID) -> DatasetVersion | None:
    """The data-set version this job validates."""
    return session.scalar(select(DatasetVersion).where(DatasetVersion.validation_job_id == job_id))


def abandoned_versions(session: Session, limit: int = 100) -> Sequence[Row[DatasetVersion, Job]]:
    """Data-set versions still `validating` though their job has ended without a verdict."""
    both = select(DatasetVersion, Job).join(Job, Job.id == DatasetVersion.validation_job_id)
    ended = both.where(
        DatasetVersion.status == "validating",
        Job.status.in_(TERMINAL),
        Job.status != JobStatus.SUCCEEDED,
    )
    locked = ended.limit(limit).with_for_update(of=DatasetVersion, skip_locked=True)
    return session.execute(locked).all()
