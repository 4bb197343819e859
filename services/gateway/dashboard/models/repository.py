"""Reads of models that only pages need."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from libs.database.tables import Model, ModelAlias, ModelVersion


def newest_versions(session: Session, model_ids: Sequence[UUID]) -> dict[UUID, ModelVersion]:
    """The newest version of each of these models."""
    query = (
        select(ModelVersion)
        .where(ModelVersion.model_id.in_(model_ids))
        .ext(distinct_on(ModelVersion.model_id))
        .order_by(ModelVersion.model_id, ModelVersion.version.desc())
    )
    return {version.model_id: version for version in session.scalars(query)}


def aliases(session: Session, model_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """`alias → version` of each of these models."""
    query = (
        select(ModelAlias.model_id, ModelAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.id == ModelAlias.version_id)
        .where(ModelAlias.model_id.in_(model_ids))
        .order_by(ModelAlias.alias)
    )
    found: dict[UUID, list[str]] = {}
    for model_id, alias, version in session.execute(query):
        found.setdefault(model_id, []).append(f"{alias} → {version}")
    return found


def ready_before(session: Session, model_id: UUID, version: int) -> int | None:
    """The number of the newest ready version of a model before `version`."""
    ready = select(func.max(ModelVersion.version)).where(ModelVersion.model_id == model_id)
    return session.scalar(ready.where(ModelVersion.status == "ready", ModelVersion.version < version))


def followable(session: Session, project_id: UUID, count: int) -> Sequence[str]:
    """`model@alias` of the project's aliases, the newest models first."""
    query = (
        select(Model.name, ModelAlias.alias)
        .join(Model, Model.id == ModelAlias.model_id)
        .where(Model.project_id == project_id, Model.deleted_at.is_(None))
        .order_by(Model.created_at.desc(), Model.id.desc(), ModelAlias.alias)
    )
    return [f"{name}@{alias}" for name, alias in session.execute(query.limit(count))]
