"""Reads for asking models that only pages need."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from libs.database.tables import Model, ModelVersion


def ready_versions(session: Session, project_id: UUID, task: str, count: int) -> Sequence[str]:
    """`name@version` of the project's ready versions for a task, newest first."""
    query = (
        select(Model.name, ModelVersion.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.project_id == project_id, Model.deleted_at.is_(None))
        .where(ModelVersion.status == "ready", ModelVersion.task == task)
        .order_by(ModelVersion.created_at.desc(), ModelVersion.id.desc())
    )
    return [f"{name}@{version}" for name, version in session.execute(query.limit(count))]
