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


_follows = (ModelAlias.model_id == Deployment.model_id) & (ModelAlias.alias == Deployment.alias)
_answering = func.coalesce(Deployment.loaded_version_id, Deployment.version_id, ModelAlias.version_id)
"""The version that answers, or will once it is loaded."""
_is_there = Deployment.loaded_version_id.is_not(None) | (Deployment.status == "loading")


def _described(project_id: UUID) -> Select[Deployment, str, int | None, int | None, str | None]:
    wanted, loaded = aliased(ModelVersion), aliased(ModelVersion)
    target = func.coalesce(Deployment.version_id, ModelAlias.version_id)
    return (
        select(Deployment, Model.name, wanted.version, loaded.version, func.coalesce(wanted.task, loaded.task))
        .join(Model, Model.id == Deployment.model_id)
        .outerjoin(ModelAlias, _follows)
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


def serving(session: Session, project_id: UUID, version_id: UUID) -> Described | None:
    """The newest deployment in which a version answers; where there is none, the newest that is loading it."""
    query = _described(project_id).where(_answering == version_id, _is_there)
    order = (Deployment.loaded_version_id.is_(None), Deployment.created_at.desc(), Deployment.id.desc())
    return session.execute(query.order_by(*order).limit(1)).first()


def versions_there(project_id: UUID) -> Select[UUID]:
    """The ids of the versions that answer or are being loaded."""
    query = select(_answering).select_from(Deployment).outerjoin(ModelAlias, _follows)
    return query.where(Deployment.project_id == project_id, _is_there, _answering.is_not(None))
