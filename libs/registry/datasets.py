"""Data sets and their versions: `uploading` → `validating` → `ready` | `invalid`. Never commits."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from libs.data.manifest import Manifest
from libs.database.engine import execute_plainly
from libs.database.tables import Dataset, DatasetVersion, Json
from libs.registry.artifacts import StoredFolder
from libs.registry.errors import (
    MOST_NAMES,
    BadReference,
    ConflictError,
    DatasetNotFound,
    DatasetVersionNotFound,
    NotReady,
    nearest_names,
)
from libs.registry.references import check_name, parse_reference

RECORDED = "recorded:"
"""`upload_uri` of a version that is made of the events that users sent; its source says which."""


def upload_folder(version_id: UUID) -> str:
    """The key below which the content of a version's upload lies in the artifact store."""
    return f"uploads/{version_id}"


def create_version(
    session: Session,
    project_id: UUID,
    name: str,
    source: Mapping[str, Any],
    *,
    description: str = "",
) -> DatasetVersion:
    """Begin a version of a data set, which is made if it does not exist; it starts as `uploading`.

    Args:
        source: how the content comes and how it is split, as stored with the version.

    Raises:
        BadReference: `name` is not a name.
    """
    dataset = _locked_dataset(session, project_id, check_name(name), description)
    newest = select(func.coalesce(func.max(DatasetVersion.version), 0)).where(DatasetVersion.dataset_id == dataset.id)
    version = DatasetVersion(
        id=uuid4(),
        project_id=project_id,
        dataset_id=dataset.id,
        version=session.scalars(newest).one() + 1,
        status="uploading",
        source=dict(source),
    )
    session.add(version)
    session.flush()
    return version


def mark_uploaded(session: Session, version_id: UUID, uri: str, size_bytes: int, job_id: UUID) -> DatasetVersion:
    """The raw content is stored, and `job_id` validates it now.

    Raises:
        ConflictError: the version is not `uploading`.
    """
    version = _move(session, version_id, {"uploading"}, "validating")
    version.upload_uri, version.upload_size_bytes, version.validation_job_id = uri, size_bytes, job_id
    return version


def mark_ready(
    session: Session, version_id: UUID, folder: StoredFolder, manifest: Manifest, report: Mapping[str, Any]
) -> DatasetVersion:
    """Validation succeeded; from here on the version never changes.

    The row's `digest` is the stored folder's, by which `FolderCache` finds it; `manifest.digest` covers the content.

    Raises:
        ConflictError: the version is not `validating`.
    """
    version = _move(session, version_id, {"validating"}, "ready")
    version.uri, version.digest, version.size_bytes = folder.uri, folder.digest, folder.size_bytes
    version.kind, version.manifest = manifest.kind, manifest.model_dump(mode="json")
    version.report = dict(report)
    session.flush()
    return version


def mark_invalid(session: Session, version_id: UUID, report: Mapping[str, Any]) -> DatasetVersion:
    """Validation failed; `report` says where.

    Raises:
        ConflictError: the version is `ready` or `invalid` already.
    """
    version = _move(session, version_id, {"uploading", "validating"}, "invalid")
    version.report = dict(report)
    session.flush()
    return version


def find_dataset(session: Session, project_id: UUID, name: str) -> Dataset:
    """The data set called `name`.

    Raises:
        DatasetNotFound: there is none; the error carries the nearest names.
    """
    dataset = session.scalar(_datasets(project_id).where(Dataset.name == name))
    if dataset is None:
        names = session.scalars(_datasets(project_id).with_only_columns(Dataset.name).limit(MOST_NAMES)).all()
        raise DatasetNotFound(f"There is no data set {name[:80]!r}.", nearest_names(name, names))
    return dataset


class ReadyVersion(NamedTuple):
    """What a job needs to know of a version it reads. Never changes."""

    version: int
    kind: str
    uri: str
    digest: str


_READY = (
    select(*(getattr(DatasetVersion, name) for name in ReadyVersion._fields))
    .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    .where(
        Dataset.project_id == bindparam("project_id"),
        Dataset.deleted_at.is_(None),
        Dataset.name == bindparam("name"),
        DatasetVersion.status == "ready",
    )
)
_NEWEST_READY = _READY.order_by(DatasetVersion.version.desc()).limit(1)
_NUMBERED_READY = _READY.where(DatasetVersion.version == bindparam("version"))


def resolve(session: Session, project_id: UUID, reference: str) -> ReadyVersion:
    """The version that `name` (the newest ready one) or `name@2` means; one query, as every job asks for it.

    Raises:
        BadReference: `reference` is malformed or names an alias, which data sets do not have.
        DatasetNotFound, DatasetVersionNotFound: there is none.
        NotReady: the version is not `ready`, or no version is.
    """
    parsed = parse_reference(reference)
    if parsed.alias is not None:
        raise BadReference(f"{reference[:140]!r}: data sets have versions, no aliases. Write {parsed.name}@1.")
    wanted = {"project_id": project_id, "name": parsed.name}
    if parsed.version is None:
        found = execute_plainly(session, _NEWEST_READY, wanted).one_or_none()
    else:
        found = execute_plainly(session, _NUMBERED_READY, {**wanted, "version": parsed.version}).one_or_none()
    if found is None:
        raise _why_not_ready(session, find_dataset(session, project_id, parsed.name), parsed.version)
    return ReadyVersion._make(found)


def manifest_of(session: Session, project_id: UUID, reference: str) -> Json:
    """The manifest of a ready version (`libs.data.manifest`), as it is stored.

    Raises:
        RegistryError: see `resolve`.
    """
    name, number = parse_reference(reference).name, resolve(session, project_id, reference).version
    version = select(DatasetVersion.manifest).join(Dataset, Dataset.id == DatasetVersion.dataset_id)
    found = version.where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None), Dataset.name == name)
    manifest: Json | None = session.scalar(found.where(DatasetVersion.version == number))
    assert manifest is not None, "a ready version has one"
    return manifest


def _why_not_ready(session: Session, dataset: Dataset, number: int | None) -> DatasetVersionNotFound | NotReady:
    """Why there is no ready version of this number, or none at all."""
    versions = select(DatasetVersion.version, DatasetVersion.status).where(DatasetVersion.dataset_id == dataset.id)
    if number is None:
        newest = session.execute(versions.order_by(DatasetVersion.version.desc()).limit(5))
        states = ", ".join(f"{version} is {status}" for version, status in newest) or "it has no versions"
        reason = f"Data set {dataset.name!r} has no ready version: {states}."
        return NotReady(f"{reason} `octavo datasets show {dataset.name}` says why.")
    found = session.execute(versions.where(DatasetVersion.version == number)).one_or_none()
    if found is None:
        return DatasetVersionNotFound(f"Data set {dataset.name!r} has no version {number}.")
    status = found.status
    place = f"{dataset.name}@{number}"
    return NotReady(f"{place} is {status}; `octavo datasets show {place}` says why.")


def delete_dataset(session: Session, project_id: UUID, name: str) -> None:
    """Remove a data set from every list; its files are collected later by `octavo gc`.

    Raises:
        DatasetNotFound: there is none.
    """
    find_dataset(session, project_id, name).deleted_at = func.clock_timestamp()
    session.flush()


def _move(session: Session, version_id: UUID, allowed: set[str], status: str) -> DatasetVersion:
    version = session.get_one(DatasetVersion, version_id, with_for_update=True, populate_existing=True)
    if version.status not in allowed:
        raise ConflictError(f"Data-set version {version_id} is {version.status}; it cannot become {status}.")
    version.status = status
    return version


def _locked_dataset(session: Session, project_id: UUID, name: str, description: str) -> Dataset:
    made = insert(Dataset).values(id=uuid4(), project_id=project_id, name=name, description=description)
    session.execute(
        made.on_conflict_do_nothing(
            index_elements=[Dataset.project_id, Dataset.name], index_where=Dataset.deleted_at.is_(None)
        )
    )
    return session.scalars(_datasets(project_id).where(Dataset.name == name).with_for_update()).one()


def _datasets(project_id: UUID) -> Select[Dataset]:
    return select(Dataset).where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
