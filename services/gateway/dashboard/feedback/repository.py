"""What recommends: deployments and models, whose answers are counted."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Exists, exists, select
from sqlalchemy.orm import Session

from libs.database.tables import Deployment, Model, ModelVersion

_TASK = "next-item"


def recommenders(session: Session, project_id: UUID, kinds: Collection[str], count: int) -> list[str]:
    """`deployment/NAME` and `model/NAME` of what recommends in the project, as far as of `kinds`; the newest first."""
    models = (
        select(Model.name)
        .where(Model.project_id == project_id, Model.deleted_at.is_(None), _recommends())
        .order_by(Model.created_at.desc(), Model.id.desc())
    )
    deployments = (
        select(Deployment.name)
        .join(Model, Model.id == Deployment.model_id)
        .where(Deployment.project_id == project_id, _recommends())
        .order_by(Deployment.created_at.desc(), Deployment.id.desc())
    )
    found = (("deployment", deployments), ("model", models))
    return [f"{kind}/{name}" for kind, query in found if kind in kinds for name in session.scalars(query.limit(count))]


def _recommends() -> Exists:
    return exists().where(ModelVersion.model_id == Model.id, ModelVersion.task == _TASK)
