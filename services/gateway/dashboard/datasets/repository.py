"""Reads of data sets that only pages need."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from libs.database.tables import DatasetVersion
from libs.web.paging import Position
from services.gateway.repository import newest_first

_LISTED = (
    DatasetVersion.id,
    DatasetVersion.version,
    DatasetVersion.status,
    DatasetVersion.source,
    DatasetVersion.size_bytes,
    DatasetVersion.created_at,
)


def versions(session: Session, dataset_id: UUID, after: Position | None, count: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Versions of a data set, newest first: what a list shows, and no report or manifest, which may be large."""
    query = select(*_LISTED).where(DatasetVersion.dataset_id == dataset_id)
    return session.execute(newest_first(query, DatasetVersion, after, count)).all()


def newest(session: Session, dataset_id: UUID) -> int | None:
    """The number of the newest version."""
    return session.scalar(select(func.max(DatasetVersion.version)).where(DatasetVersion.dataset_id == dataset_id))
