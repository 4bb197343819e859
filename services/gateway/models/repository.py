"""Reads of models for lists and lineage. What changes them is in `libs.registry`."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.orm import Session

from libs.database.tables import Dataset, DatasetVersion, Model, ModelVersion
from libs.web.paging import Position
from services.gateway.repository import newest_first

Found = dict[str, tuple[str, int]]
"""Digest → name and version number."""


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[Model]:
    """Models of the project, newest first."""
    query = select(Model).where(Model.project_id == project_id, Model.deleted_at.is_(None))
    return session.scalars(newest_first(query, Model, after, count)).all()


def version_page(session: Session, model_id: UUID, after: Position | None, count: int) -> Sequence[ModelVersion]:
    """Versions of a model, newest first."""
    query = select(ModelVersion).where(ModelVersion.model_id == model_id)
    return session.scalars(newest_first(query, ModelVersion, after, count)).all()


def model_name(session: Session, model_id: UUID) -> str:
    """The name of a model."""
    return session.scalars(select(Model.name).where(Model.id == model_id)).one()


def datasets_by_digest(session: Session, project_id: UUID, digests: Collection[str]) -> Found:
    """The project's data-set versions of these contents; the newest where there are several."""
    query = (
        select(DatasetVersion.digest, Dataset.name, DatasetVersion.version)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(DatasetVersion.project_id == project_id, DatasetVersion.digest.in_(digests))
        .where(Dataset.deleted_at.is_(None))
        .order_by(DatasetVersion.created_at)
    )
    return {str(digest): (name, version) for digest, name, version in session.execute(query)}


def models_by_digest(session: Session, project_id: UUID, digests: Collection[str]) -> Found:
    """The project's model versions of these contents; the newest where there are several."""
    query = (
        select(ModelVersion.digest, Model.name, ModelVersion.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.project_id == project_id, ModelVersion.digest.in_(digests))
        .where(Model.deleted_at.is_(None))
        .order_by(ModelVersion.created_at)
    )
    return {digest: (name, version) for digest, name, version in session.execute(query)}


def children(session: Session, project_id: UUID, digest: str, count: int) -> Sequence[tuple[ModelVersion, str]]:
    """Versions whose lineage names `digest` as a parent, with their model's name; newest first."""
    path = cast("$.parent_digests.* ? (@ == $digest)", JSONPATH)
    is_parent = func.jsonb_path_exists(ModelVersion.lineage, path, cast({"digest": digest}, JSONB))
    query = (
        select(ModelVersion, Model.name)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.project_id == project_id, Model.deleted_at.is_(None))
        .where(is_parent)
        .order_by(ModelVersion.created_at.desc())
        .limit(count)
    )
    return session.execute(query).tuples().all()
