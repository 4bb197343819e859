"""Reads for asking models that only pages need."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from libs.database.tables import Model, ModelVersion
from services.gateway.deployments.repository import versions_there


def unserved_versions(session: Session, project_id: UUID, count: int) -> dict[str, str]:
    """`name@version` → task of the project's ready versions that nobody serves, the newest first."""
    query = (
        select(Model.name, ModelVersion.version, ModelVersion.task)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.project_id == project_id, Model.deleted_at.is_(None), ModelVersion.status == "ready")
        .where(ModelVersion.id.not_in(versions_there(project_id)))
        .order_by(ModelVersion.created_at.desc(), ModelVersion.id.desc())
    )
    return {f"{name}@{version}": task for name, version, task in session.execute(query.limit(count))}
