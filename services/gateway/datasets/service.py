"""Data sets: begun, uploaded, handed to validation, read back. Their states are `libs.registry.datasets`'s."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Artifact
from libs.database.tables import Dataset as DatasetRow
from libs.database.tables import DatasetVersion as VersionRow
from libs.jobs import dataset_versions
from libs.jobs.dataset_spec import VersionRequest
from libs.registry import datasets as registry
from libs.registry.errors import DatasetVersionNotFound
from libs.web.paging import Page, decode_cursor
from libs.web.problems import ConflictError, NotFoundError
from services.gateway.datasets import repository
from services.gateway.datasets.schemas import (
    Dataset,
    DatasetDetail,
    DatasetVersion,
    Report,
    Statistics,
)
from services.gateway.datasets.uploads import Upload
from services.gateway.jobs.repository import newest_artifact
from services.gateway.paging import SHOWN_VERSIONS, page_of

_NAMED_USERS = 3
PREVIEW = "preview.png"
"""Artifact of the validation job: sample pictures on one sheet."""


def begin(session: Session, project_id: UUID, name: str, request: VersionRequest, data_roots: str) -> DatasetVersion:
    """Begin a version: it waits for its upload, or is handed to validation at once.

    Raises:
        RequestRefused: its path is not under an allowed root, or the data set it goes on from is none of events.
    """
    return _version(dataset_versions.begin(session, project_id, name, request, data_roots), name)


def uploading(session: Session, project_id: UUID, name: str, number: int) -> VersionRow:
    """The version, which still takes chunks.

    Raises:
        ConflictError: its upload is complete, or it never had one.
        DatasetNotFound, DatasetVersionNotFound: there is none.
    """
    row = _find(session, project_id, name, number)
    if row.status != "uploading":
        raise ConflictError(f"{name}@{number} is {row.status} and takes no upload; begin a new version.")
    return row


def upload_key(row: VersionRow) -> str:
    """Where in the artifact store the content of an upload lies."""
    return f"{registry.upload_folder(row.id)}/{row.source['upload']}"


def checked_size(upload: Upload, announced: int | None) -> int:
    """Make a complete upload readable; its size in bytes.

    Raises:
        ConflictError: nothing arrived, or another size than announced.
    """
    arrived = upload.offset()
    if arrived == 0 or announced not in (None, arrived):
        wanted = f"{announced} were announced" if announced is not None else "an upload cannot be empty"
        raise ConflictError(
            f"{arrived} bytes have arrived, {wanted}; go on at offset {arrived}.",
            code="upload_incomplete",
            headers={"Upload-Offset": str(arrived)},
        )
    return upload.finish()


def note_received(session: Session, project_id: UUID, name: str, number: int, size_bytes: int) -> None:
    """Record how much of an upload has arrived, for people; the store itself is what a resume goes by."""
    row = _find(session, project_id, name, number)
    if row.status == "uploading":
        row.upload_size_bytes = size_bytes


def complete(session: Session, project_id: UUID, name: str, number: int, uri: str, size_bytes: int) -> DatasetVersion:
    """The upload is whole: queue its validation. Completing twice is a conflict, not a second job."""
    row = uploading(session, project_id, name, number)
    dataset_versions.validate(session, row, name, uri, size_bytes)
    session.refresh(row)
    return _version(row, name)


def listing(session: Session, project_id: UUID, cursor: str | None, limit: int) -> Page[Dataset]:
    """A page of data sets, newest first, each with its newest version."""
    after = decode_cursor(cursor, "datasets", {})
    rows = repository.page(session, project_id, after, limit + 1)
    newest = repository.newest_versions(session, [row.id for row in rows])
    return page_of(rows, limit, "datasets", {}, lambda row: _dataset(row, newest.get(row.id)))


def detail(session: Session, project_id: UUID, name: str) -> DatasetDetail:
    """A data set with its newest versions."""
    row = registry.find_dataset(session, project_id, name)
    versions = repository.version_page(session, row.id, None, SHOWN_VERSIONS)
    summary = _dataset(row, versions[0] if versions else None)
    return DatasetDetail(**dict(summary), versions=[_version(version, name) for version in versions])


def versions(session: Session, project_id: UUID, name: str, cursor: str | None, limit: int) -> Page[DatasetVersion]:
    """A page of a data set's versions, newest first."""
    dataset = registry.find_dataset(session, project_id, name)
    filters = {"dataset": dataset.id}
    after = decode_cursor(cursor, "dataset versions", filters)
    rows = repository.version_page(session, dataset.id, after, limit + 1)
    return page_of(rows, limit, "dataset versions", filters, lambda row: _version(row, name))


def version(session: Session, project_id: UUID, name: str, number: int) -> DatasetVersion:
    """One version."""
    return _version(_find(session, project_id, name, number), name)


def report(session: Session, project_id: UUID, name: str, number: int) -> Report:
    """What validation found.

    Raises:
        NotFoundError: it has not ended yet.
    """
    row = _find(session, project_id, name, number)
    if row.report is None:
        raise NotFoundError(f"{name}@{number} is {row.status}; it has no report yet.", code="report_not_found")
    return Report(dataset=name, version=number, status=row.status, report=row.report)


def statistics(session: Session, project_id: UUID, name: str, number: int) -> Statistics:
    """Figures of a ready version.

    Raises:
        NotFoundError: it is not ready.
    """
    row = _find(session, project_id, name, number)
    if row.manifest is None:
        detail = f"{name}@{number} is {row.status}; only a ready version has statistics."
        raise NotFoundError(detail, code="statistics_not_found")
    return Statistics(dataset=name, version=number, manifest=row.manifest)


def preview(session: Session, project_id: UUID, name: str, number: int) -> Artifact:
    """The sheet of sample pictures that validation made.

    Raises:
        NotFoundError: there is none (yet).
    """
    row = _find(session, project_id, name, number)
    sheet = newest_artifact(session, row.validation_job_id, PREVIEW) if row.validation_job_id else None
    if sheet is None:
        raise NotFoundError(f"{name}@{number} is {row.status} and has no preview.", code="preview_not_found")
    return sheet


def delete(session: Session, project_id: UUID, name: str, *, force: bool) -> None:
    """Remove a data set from every list.

    Raises:
        DatasetNotFound: there is none.
        ConflictError: jobs that have not ended use it, and it is not forced.
    """
    registry.find_dataset(session, project_id, name)
    users = [] if force else repository.unfinished_users(session, project_id, name, _NAMED_USERS + 1)
    if users:
        named = ", ".join(f"{job.name} ({job.id}, {job.status})" for job in users[:_NAMED_USERS])
        more = " and more" if len(users) > _NAMED_USERS else ""
        raise ConflictError(
            f"Data set {name!r} is used by jobs that have not ended: {named}{more}. "
            "Wait for them or cancel them first; `?force=true` deletes it all the same.",
            code="in_use",
        )
    registry.delete_dataset(session, project_id, name)


def _find(session: Session, project_id: UUID, name: str, number: int) -> VersionRow:
    dataset = registry.find_dataset(session, project_id, name)
    found = repository.version(session, dataset.id, number)
    if found is None:
        raise DatasetVersionNotFound(f"Data set {name!r} has no version {number}.")
    return found


def _dataset(row: DatasetRow, newest: VersionRow | None) -> Dataset:
    latest = _version(newest, row.name) if newest else None
    return Dataset(id=row.id, name=row.name, description=row.description, created_at=row.created_at, latest=latest)


def _version(row: VersionRow, name: str) -> DatasetVersion:
    address = f"/v1/datasets/{name}/versions/{row.version}"
    return DatasetVersion(
        id=row.id,
        dataset=name,
        version=row.version,
        status=row.status,
        source=row.source,
        upload_url=f"{address}/upload" if row.status == "uploading" else None,
        size_bytes=row.size_bytes or row.upload_size_bytes,
        digest=row.digest,
        validation_job_id=row.validation_job_id,
        summary=_summary(row.manifest),
        created_at=row.created_at,
    )


def _summary(manifest: dict[str, Any] | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    if manifest["kind"] == "events":
        shown = ("users", "items", "events", "first_time", "last_time", "item_features")
        splits = {name: counts["events"] for name, counts in manifest["splits"].items()}
        return {**{name: manifest[name] for name in shown}, "splits": splits, "protocol": manifest["split"]["protocol"]}
    splits = {name: counts["pictures"] for name, counts in manifest["splits"].items()}
    size = {name: manifest[name] for name in ("channels", "height", "width")}
    return {"classes": len(manifest["classes"]), "pictures": sum(splits.values()), "splits": splits, **size}
