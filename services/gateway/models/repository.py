"""Reads of models for lists and lineage. What changes them is in `libs.registry`."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from libs.database.tables import Model, ModelVersion
from libs.web.paging import Position
from services.gateway.repository import newest_first


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[Model]:
    """Models of the project, newest first."""
    query = select(Model).where(Model.project_id == project_id, Model.deleted_at.is_(None))
    return session.scalars(newest_first(query, Model, after, count)).all()


def version_page(session: Session, model_id: UUID, after: Position | None, count: int) -> Sequence[ModelVersion]:
    """Versions of a model, newest first, for lists: what a list does not show is not read."""
    unread = (ModelVersion.bundle, ModelVersion.lineage, ModelVersion.gates)
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    query = query.options(*(defer(column, raiseload=True) for column in unread))
    return session.scalars(newest_first(query, ModelVersion, after, count)).all()


def model_name(session: Session, model_id: UUID) -> str:
    """The name of a model."""
    return session.scalars(select(Model.name).where(Model.id == model_id)).one()
