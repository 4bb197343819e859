"""Reads of data sets for lists. What changes them is in `libs.registry.datasets`."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from libs.database.tables import Dataset, DatasetVersion
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


def version(session: Session, dataset_id: UUID, number: int) -> DatasetVersion | None:
    """A version by its number."""
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.version == number)
    return session.scalar(query)
