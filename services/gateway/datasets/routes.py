"""/v1/datasets"""

from typing import Annotated

from fastapi import Path, Query, Security
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse

from libs.jobs.dataset_spec import DatasetRequest, VersionRequest
from libs.jobs.names import Name
from libs.registry import datasets as registry
from libs.web.auth import Caller, Scope, authenticate
from libs.web.idempotency import Answer
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gateway, Gw
from services.gateway.datasets import service
from services.gateway.datasets.schemas import (
    Dataset,
    DatasetDetail,
    DatasetVersion,
    Report,
    Statistics,
)
from services.gateway.downloads import download_of, stream_file
from services.gateway.idempotency.once import Creates

router = Router(prefix="/v1/datasets", tags=["data sets"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.DATASETS_READ])]
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.DATASETS_WRITE])]
DatasetName = Annotated[Name, Path(examples=["cats"])]
Number = Annotated[int, Path(ge=1, le=10**9, examples=[1])]


@router.post("", status_code=201, response_model=DatasetVersion, responses=responses(409))
def create_dataset(caller: Writer, body: DatasetRequest, creation: Creates) -> JSONResponse:
    """Make a data set, or the next version of one that exists.

    With an `upload` source, send the content to `upload_url` and complete it. With a `path` or a `public` source,
    validation is queued at once; its job is `validation_job_id`.
    """
    return creation.once(caller, lambda session: _begun(session, creation.gateway, caller, body.name, body))


@router.post("/{name}/versions", status_code=201, response_model=DatasetVersion, responses=responses(404, 409))
def create_version(caller: Writer, name: DatasetName, body: VersionRequest, creation: Creates) -> JSONResponse:
    """Make the next version of a data set."""

    def work(session: Session) -> Answer:
        registry.find_dataset(session, caller.project_id, name)
        return _begun(session, creation.gateway, caller, name, body)

    return creation.once(caller, work)


def _begun(session: Session, gateway: Gateway, caller: Caller, name: str, body: VersionRequest) -> Answer:
    made = service.begin(session, caller.project_id, name, body, gateway.settings.platform.data_roots)
    location = f"/v1/datasets/{made.dataset}/versions/{made.version}"
    return Answer(201, made.model_dump(mode="json"), {"Location": location})


@router.get("", responses=responses())
def list_datasets(caller: Reader, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Dataset]:
    """List data sets, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, cursor, limit)


@router.get("/{name}", responses=responses(404))
def get_dataset(caller: Reader, gateway: Gw, name: DatasetName) -> DatasetDetail:
    """One data set with its newest versions."""
    with gateway.reading() as session:
        return service.detail(session, caller.project_id, name)


@router.delete("/{name}", status_code=204, responses=responses(404, 409))
def delete_dataset(
    caller: Writer,
    gateway: Gw,
    name: DatasetName,
    force: Annotated[bool, Query(description="Even if jobs that have not ended use it; they will fail.")] = False,
) -> None:
    """Delete a data set that no unfinished job uses. Models trained on it keep its digest.

    Its files go with an `octavo gc` a week later.
    """
    with gateway.writing() as session:
        service.delete(session, caller.project_id, name, force=force)


@router.get("/{name}/versions", responses=responses(404))
def list_versions(
    caller: Reader, gateway: Gw, name: DatasetName, cursor: CursorText = None, limit: Limit = 50
) -> Page[DatasetVersion]:
    """List a data set's versions, newest first."""
    with gateway.reading() as session:
        return service.versions(session, caller.project_id, name, cursor, limit)


@router.get("/{name}/versions/{number}", responses=responses(404))
def get_version(caller: Reader, gateway: Gw, name: DatasetName, number: Number) -> DatasetVersion:
    """One version of a data set."""
    with gateway.reading() as session:
        return service.version(session, caller.project_id, name, number)


@router.get("/{name}/versions/{number}/report", responses=responses(404))
def get_report(caller: Reader, gateway: Gw, name: DatasetName, number: Number) -> Report:
    """What validation found: counts, broken files, duplicates, class balance."""
    with gateway.reading() as session:
        return service.report(session, caller.project_id, name, number)


@router.get("/{name}/versions/{number}/statistics", responses=responses(404))
def get_statistics(caller: Reader, gateway: Gw, name: DatasetName, number: Number) -> Statistics:
    """Classes, splits, sizes, mean and standard deviation of a ready version."""
    with gateway.reading() as session:
        return service.statistics(session, caller.project_id, name, number)


@router.get(
    "/{name}/versions/{number}/preview",
    response_class=StreamingResponse,
    responses={**responses(404), 200: {"content": {"image/png": {}}}},
)
def get_preview(caller: Reader, gateway: Gw, name: DatasetName, number: Number) -> StreamingResponse:
    """Sample pictures of the version on one sheet."""
    with gateway.reading() as session:
        sheet = service.preview(session, caller.project_id, name, number)
    return stream_file(gateway.store, download_of(sheet), inline=True)
