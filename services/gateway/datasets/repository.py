"""Reads of data sets for lists. What changes them is in `libs.registry.datasets`."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import JSONPATH, distinct_on
from sqlalchemy.orm import Session, defer

from libs.database.tables import Dataset, DatasetVersion, Job
from libs.jobs.states import TERMINAL, JobStatus
from libs.web.paging import Position
from services.gateway.repository import newest_first


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[Dataset]:
    """Data sets of the project, newest first."""
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
    return session.scalars(newest_first(query, Dataset, after, count)).all()


def newest_versions(session: Session, dataset_ids: Sequence[UUID]) -> dict[UUID, DatasetVersion]:
    """The newest version of each of these data sets."""
    query = (
        select(DatasetVersion)
        .where(DatasetVersion.dataset_id.in_(dataset_ids))
        .ext(distinct_on(DatasetVersion.dataset_id))
        .order_by(DatasetVersion.dataset_id, DatasetVersion.version.desc())
    )
    return {version.dataset_id: version for version in session.scalars(query)}


def unfinished_users(session: Session, project_id: UUID, name: str, count: int) -> Sequence[Job]:
    """Jobs that have not ended and read a version of the data set, oldest first; its validation among them."""
    of_this = func.jsonb_path_exists(
        Job.spec, cast("$.datasets.* ? (@ starts with $name)", JSONPATH), func.jsonb_build_object("name", f"{name}@")
    )
    unfinished = Job.status.in_(sorted(set(JobStatus) - TERMINAL))
    query = select(Job).where(Job.project_id == project_id, unfinished, of_this).order_by(Job.created_at, Job.id)
    return session.scalars(query.limit(count)).all()


def version_page(session: Session, dataset_id: UUID, after: Position | None, count: int) -> Sequence[DatasetVersion]:
    """Versions of a data set, newest first, without their reports."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    query = query.options(defer(DatasetVersion.report, raiseload=True))
    return session.scalars(newest_first(query, DatasetVersion, after, count)).all()


def version(session: Session, dataset_id: UUID, number: int) -> DatasetVersion | None:
    """A version by its number."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.version == number)
    return session.scalar(query)
