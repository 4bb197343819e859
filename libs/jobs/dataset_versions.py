"""Versions of data sets from their beginning to the job that validates them. Never commits."""

from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from libs.database.tables import DatasetVersion
from libs.jobs.dataset_sources import allowed_location, pinned_events
from libs.jobs.dataset_spec import DatasetRequest, Source, VersionRequest
from libs.jobs.spec import JobSpec
from libs.jobs.submit import submit
from libs.registry import datasets


def settled(session: Session, project_id: UUID, source: Source, data_roots: str) -> Source:
    """The source with its place as one URL and the data set it goes on from as `name@version`.

    Raises:
        RequestRefused: the place is not under an allowed root, or that data set is none of events; a fault for it.
    """
    if source.path is not None:
        return Source(path=allowed_location(source.path, data_roots))
    if source.recorded is not None and source.recorded.base is not None:
        base = pinned_events(session, project_id, source.recorded.base)
        return Source(recorded=source.recorded.model_copy(update={"base": base}))
    return source


def begin(
    session: Session,
    project_id: UUID,
    name: str,
    request: VersionRequest,
    data_roots: str,
    *,
    schedule: str | None = None,
) -> DatasetVersion:
    """Begin a version: it waits for its upload, or is handed to validation at once.

    Args:
        schedule: the name of the schedule that asks for it.

    Raises:
        RequestRefused: see `settled`.
    """
    source = settled(session, project_id, request.source, data_roots)
    stored = {**source.model_dump(exclude_none=True), "validation": request.validation.model_dump(mode="json")}
    description = request.description if isinstance(request, DatasetRequest) else ""
    row = datasets.create_version(session, project_id, name, stored, description=description)
    if source.upload is None:
        place = source.path or (datasets.RECORDED if source.recorded is not None else f"public:{source.public}")
        validate(session, row, name, place, size_bytes=0, schedule=schedule)
    session.refresh(row)
    return row


def validate(
    session: Session, row: DatasetVersion, name: str, uri: str, size_bytes: int, *, schedule: str | None = None
) -> None:
    """Move the version on, then submit the job: a version that is validated already submits none.

    Raises:
        ConflictError: its content has come already.
    """
    job_id = uuid4()
    datasets.mark_uploaded(session, row.id, uri, size_bytes, job_id)
    base = row.source.get("recorded", {}).get("base")
    spec = JobSpec(
        method="validate-dataset",
        name=f"validate-{name}"[:64].rstrip("._-"),
        datasets={"upload": f"{name}@{row.version}", **({"base": base} if base is not None else {})},
        config=row.source["validation"],
    )
    submit(session, row.project_id, spec, job_id=job_id, schedule=schedule)
