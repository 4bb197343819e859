"""Reads of deployments with the names and numbers of what they serve. What changes them is in `libs.registry`."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session, aliased

from libs.database.tables import Deployment, Model, ModelAlias, ModelVersion
from libs.web.paging import Position
from services.gateway.repository import newest_first

Described = Row[Deployment, str, int | None, int | None, str | None]
"""Deployment, model name, version wanted, version loaded, task of the one or the other."""


def _described(project_id: UUID) -> Select[Deployment, str, int | None, int | None, str | None]:
    wanted, loaded = aliased(ModelVersion), aliased(ModelVersion)
    follows = (ModelAlias.model_id == Deployment.model_id) & (ModelAlias.alias == Deployment.alias)
    target = func.coalesce(Deployment.version_id, ModelAlias.version_id)
    return (
        select(Deployment, Model.name, wanted.version, loaded.version, func.coalesce(wanted.task, loaded.task))
        .join(Model, Model.id == Deployment.model_id)
        .outerjoin(ModelAlias, follows)
        .outerjoin(wanted, wanted.id == target)
        .outerjoin(loaded, loaded.id == Deployment.loaded_version_id)
        .where(Deployment.project_id == project_id)
    )


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[Described]:
    """Deployments of the project, newest first."""
    rows: Sequence[Described] = session.execute(newest_first(_described(project_id), Deployment, after, count)).all()
    return rows


def described(session: Session, project_id: UUID, deployment_id: UUID) -> Described:
    """One deployment that exists."""
    return session.execute(_described(project_id).where(Deployment.id == deployment_id)).one()
