"""Movable names for versions. `revision` grows with every move and is the alias's ETag. Never commits.

The model is locked first: two moves of its aliases happen one after the other.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from libs.database.tables import Deployment, Model, ModelAlias, ModelVersion
from libs.registry.errors import AliasConflict, AliasNotFound, InUse, NotReady
from libs.registry.models import find_model, lock_model, resolve_parsed
from libs.registry.notify import notify_aliases
from libs.registry.references import Reference, check_alias

ANY_REVISION = 0
"""`expected_revision` of a caller that does not care (no `If-Match`)."""


def set_alias(
    session: Session,
    project_id: UUID,
    model_name: str,
    alias: str,
    version: int,
    expected_revision: int | None = ANY_REVISION,
) -> ModelAlias:
    """Point an alias at a ready version, making it if need be.

    Args:
        expected_revision: the revision the caller read; None: the alias must not exist yet.

    Raises:
        AliasConflict: the alias is at another revision.
        BadReference: `alias` cannot be an alias.
        ModelNotFound, VersionNotFound: there is none.
        NotReady: the version was rejected or archived.
    """
    model = lock_model(session, project_id, model_name)
    target = resolve_parsed(session, model, Reference(model.name, version=version))
    if target.status != "ready":
        raise NotReady(f"{model.name}@{version} is {target.status}; an alias needs a ready version.")
    row = session.get(ModelAlias, (model.id, check_alias(alias)), populate_existing=True)
    _check_revision(alias, row, expected_revision)
    if row is None:
        row = ModelAlias(model_id=model.id, alias=alias, version_id=target.id, revision=1)
        session.add(row)
    else:
        row.version_id, row.revision = target.id, row.revision + 1
        row.updated_at = func.clock_timestamp()
    session.flush()
    notify_aliases(session, model.id)
    return row


def promote(session: Session, version: ModelVersion, alias: str, parent_digest: str) -> str | None:
    """Move an alias to a version that was made from another one; why not, or None when it was moved.

    It is moved only from the parent, or made: who pointed it elsewhere while the version was being made had a reason.

    Args:
        parent_digest: content of the version it may be at.
    """
    model = session.get_one(Model, version.model_id)
    if version.status != "ready":
        return f"the version is {version.status}: {version.status_reason}"
    lock_model(session, version.project_id, model.name)
    row = session.get(ModelAlias, (model.id, alias), populate_existing=True)
    if row is not None:
        current = session.get_one(ModelVersion, row.version_id)
        if current.digest != parent_digest:
            return f"{alias} is at {model.name}@{current.version}, not at the parent"
    set_alias(session, version.project_id, model.name, alias, version.version)
    return None


def get_alias(session: Session, project_id: UUID, model_name: str, alias: str) -> tuple[ModelAlias, ModelVersion]:
    """An alias and the version it points at.

    Raises:
        ModelNotFound, AliasNotFound: there is none; with the nearest names.
    """
    model = find_model(session, project_id, model_name)
    version = resolve_parsed(session, model, Reference(model.name, alias=check_alias(alias)))
    return session.get_one(ModelAlias, (model.id, alias)), version


def list_aliases(session: Session, model: Model) -> Sequence[tuple[ModelAlias, int]]:
    """Every alias of a model with the version number it points at, by name."""
    rows = select(ModelAlias, ModelVersion.version).join(ModelVersion, ModelVersion.id == ModelAlias.version_id)
    found = session.execute(rows.where(ModelAlias.model_id == model.id).order_by(ModelAlias.alias))
    return [(row[0], row[1]) for row in found]


def delete_alias(
    session: Session,
    project_id: UUID,
    model_name: str,
    alias: str,
    expected_revision: int | None = ANY_REVISION,
) -> None:
    """Remove an alias.

    Raises:
        AliasConflict: it is at another revision.
        AliasNotFound: there is none.
        InUse: a deployment follows it.
    """
    model = lock_model(session, project_id, model_name)
    row = session.get(ModelAlias, (model.id, alias), populate_existing=True)
    if row is None:
        raise AliasNotFound(f"Model {model_name!r} has no alias {alias[:64]!r}.")
    _check_revision(alias, row, expected_revision)
    followed = select(Deployment.name).where(Deployment.model_id == model.id, Deployment.alias == alias)
    deployments = session.scalars(followed).all()
    if deployments:
        raise InUse(f"Alias {alias!r} is followed by deployment {', '.join(deployments)}. Point it elsewhere first.")
    session.delete(row)
    session.flush()


def _check_revision(alias: str, row: ModelAlias | None, expected: int | None) -> None:
    revision = None if row is None else row.revision
    if expected != ANY_REVISION and expected != revision:
        raise AliasConflict(alias, expected, revision)
