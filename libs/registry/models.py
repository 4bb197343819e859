"""Models and their immutable versions: registering, finding, listing, deleting. Never commits."""

from collections.abc import Mapping
from uuid import UUID, uuid4

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from libs.database.tables import Deployment, Json, Model, ModelAlias, ModelVersion
from libs.registry.artifacts import StoredFolder
from libs.registry.errors import (
    MOST_NAMES,
    AliasNotFound,
    InUse,
    ModelNotFound,
    NotReady,
    VersionNotFound,
    nearest_names,
)
from libs.registry.gates import GateResult, check_gates, first_failure
from libs.registry.references import Reference, check_name, parse_reference
from libs.serving.bundle import Bundle


def register_version(
    session: Session,
    *,
    project_id: UUID,
    model_name: str,
    bundle: Bundle,
    folder: StoredFolder,
    job_id: UUID | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str = "",
) -> ModelVersion:
    """Add a version to a model, which is made if it does not exist.

    A job has at most one version: registering again for the same `job_id` returns the one there is, whatever else is
    passed, so a supervisor may repeat the call after a crash. A version that fails a gate is kept as `rejected`.

    Args:
        session: transaction of the caller; the model's row stays locked until it ends.
        bundle: what `bundle.json` in `folder` says.
        folder: the bundle in the artifact store.
        metrics: final figures of the run; they win over the bundle's own of the same name.

    Raises:
        BadReference: `model_name` is not a name.
    """
    model = _locked_model(session, project_id, check_name(model_name), description)
    existing = version_of_job(session, project_id, job_id) if job_id else None
    if existing is not None:
        return existing
    gates = check_gates(bundle)
    failure = first_failure(gates)
    model.last_version += 1
    version = ModelVersion(
        id=uuid4(),
        project_id=project_id,
        model_id=model.id,
        version=model.last_version,
        status="ready" if failure is None else "rejected",
        status_reason=failure,
        job_id=job_id,
        method=bundle.lineage.method,
        task=bundle.task,
        uri=folder.uri,
        digest=folder.digest,
        size_bytes=folder.size_bytes,
        bundle=bundle.model_dump(mode="json"),
        metrics={**bundle.metrics, **(metrics or {})},
        lineage=bundle.lineage.model_dump(mode="json"),
        gates=_gates_json(gates),
    )
    session.add(version)
    session.flush()
    return version


def version_of_job(session: Session, project_id: UUID, job_id: UUID) -> ModelVersion | None:
    """The version a job made, if it made one."""
    found = select(ModelVersion).where(ModelVersion.project_id == project_id, ModelVersion.job_id == job_id)
    return session.scalar(found)


def find_model(session: Session, project_id: UUID, name: str) -> Model:
    """The model called `name`.

    Raises:
        ModelNotFound: there is none; the error carries the nearest names.
    """
    model = session.scalar(_models(project_id).where(Model.name == name))
    if model is None:
        names = session.scalars(_models(project_id).with_only_columns(Model.name).limit(MOST_NAMES)).all()
        raise ModelNotFound(f"There is no model {name[:80]!r}.", nearest_names(name, names))
    return model


def lock_model(session: Session, project_id: UUID, name: str, *, shared: bool = False) -> Model:
    """The model called `name`, its row locked until the transaction ends, so that nothing of it goes meanwhile.

    Args:
        shared: others may lock it so, too; but nobody deletes it, or a version or an alias of it.

    Raises:
        ModelNotFound: there is none.
    """
    wanted = _models(project_id).where(Model.name == name).with_for_update(read=shared)
    model = session.scalar(wanted.execution_options(populate_existing=True))
    return find_model(session, project_id, name) if model is None else model


def resolve(session: Session, project_id: UUID, reference: str, *, ready: bool = True) -> ModelVersion:
    """The version that `name`, `name@3` or `name@alias` means now; `name` and `name@latest`: the newest ready one.

    Args:
        ready: whether a version that is not `ready` is refused.

    Raises:
        BadReference: `reference` is malformed.
        ModelNotFound, VersionNotFound, AliasNotFound: each with the nearest existing names.
        NotReady: the version was rejected or archived, or the model has no ready version.
    """
    parsed = parse_reference(reference)
    version = resolve_parsed(session, find_model(session, project_id, parsed.name), parsed)
    if ready and version.status != "ready":
        why = f": {version.status_reason}" if version.status_reason else ""
        raise NotReady(f"{parsed.name}@{version.version} is {version.status}{why}.")
    return version


def resolve_parsed(session: Session, model: Model, reference: Reference) -> ModelVersion:
    """The version of `model` that a parsed reference means, whatever its status.

    Raises:
        VersionNotFound, AliasNotFound: as `resolve`.
        NotReady: the newest ready version is wanted and there is none.
    """
    if reference.version is not None:
        return _numbered(session, model, reference.version)
    if reference.alias is not None:
        return _aliased(session, model, reference.alias)
    newest = select(ModelVersion).where(ModelVersion.model_id == model.id, ModelVersion.status == "ready")
    version = session.scalar(newest.order_by(ModelVersion.version.desc()).limit(1))
    if version is None:
        raise NotReady(f"Model {model.name!r} has no ready version yet; see its versions for the reasons.")
    return version


def delete_model(session: Session, project_id: UUID, name: str) -> None:
    """Remove a model from every list; its versions' files are collected later by `octavo gc`.

    Raises:
        ModelNotFound: there is none.
        InUse: a deployment serves it.
    """
    model = lock_model(session, project_id, name)
    deployments = session.scalars(select(Deployment.name).where(Deployment.model_id == model.id)).all()
    if deployments:
        raise InUse(f"Model {name!r} is deployed as {', '.join(sorted(deployments))}. Delete the deployment first.")
    model.deleted_at = func.clock_timestamp()
    archived = update(ModelVersion).where(ModelVersion.model_id == model.id, ModelVersion.status == "ready")
    session.execute(archived.values(status="archived", status_reason="its model was deleted"))


def delete_version(session: Session, project_id: UUID, name: str, number: int) -> None:
    """Remove one version; its number is never used again.

    Raises:
        ModelNotFound, VersionNotFound: there is none.
        InUse: a deployment serves it, or an alias points at it.
    """
    model = lock_model(session, project_id, name)
    version = _numbered(session, model, number)
    aliases = session.scalars(select(ModelAlias.alias).where(ModelAlias.version_id == version.id)).all()
    deployments = session.scalars(
        select(Deployment.name).where(
            (Deployment.version_id == version.id) | (Deployment.loaded_version_id == version.id)
        )
    ).all()
    if deployments or aliases:
        users = [f"deployment {name!r}" for name in deployments] + [f"alias {alias!r}" for alias in aliases]
        raise InUse(f"{name}@{number} is used by {', '.join(users)}. Point them elsewhere or delete them first.")
    session.delete(version)
    session.flush()


def _locked_model(session: Session, project_id: UUID, name: str, description: str) -> Model:
    made = insert(Model).values(id=uuid4(), project_id=project_id, name=name, description=description, last_version=0)
    session.execute(
        made.on_conflict_do_nothing(
            index_elements=[Model.project_id, Model.name], index_where=Model.deleted_at.is_(None)
        )
    )
    locked = _models(project_id).where(Model.name == name).with_for_update()
    return session.scalars(locked.execution_options(populate_existing=True)).one()


def _models(project_id: UUID) -> Select[Model]:
    return select(Model).where(Model.project_id == project_id, Model.deleted_at.is_(None))


def _numbered(session: Session, model: Model, number: int) -> ModelVersion:
    found = select(ModelVersion).where(ModelVersion.model_id == model.id, ModelVersion.version == number)
    version = session.scalar(found)
    if version is None:
        numbers = select(ModelVersion.version).where(ModelVersion.model_id == model.id)
        newest = session.scalars(numbers.order_by(ModelVersion.version.desc()).limit(10)).all()
        held = ", ".join(str(n) for n in sorted(newest)) or "none"
        raise VersionNotFound(f"Model {model.name!r} has no version {number}; its newest versions: {held}.")
    return version


def _aliased(session: Session, model: Model, alias: str) -> ModelVersion:
    found = select(ModelVersion).join(ModelAlias, ModelAlias.version_id == ModelVersion.id)
    version = session.scalar(found.where(ModelAlias.model_id == model.id, ModelAlias.alias == alias))
    if version is None:
        names = session.scalars(select(ModelAlias.alias).where(ModelAlias.model_id == model.id)).all()
        held = f" Its aliases: {', '.join(sorted(names)[:10])}." if names else " It has no aliases."
        raise AliasNotFound(f"Model {model.name!r} has no alias {alias!r}.{held}", nearest_names(alias, names))
    return version


def _gates_json(gates: Mapping[str, GateResult]) -> Json:
    return {name: {"passed": gate.passed, "detail": gate.detail} for name, gate in gates.items()}
