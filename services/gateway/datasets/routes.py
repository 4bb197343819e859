"""/v1/datasets"""

from typing import Annotated

from fastapi import Path, Query, Response, Security
from starlette.responses import StreamingResponse

from libs.jobs.spec import Name
from libs.registry import datasets as registry
from libs.web.auth import Caller, Scope, authenticate
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.datasets import service
from services.gateway.datasets.schemas import (
    Dataset,
    DatasetDetail,
    DatasetRequest,
    DatasetVersion,
    Report,
    Statistics,
    VersionRequest,
)
from services.gateway.downloads import download_of, stream_file

router = Router(prefix="/v1/datasets", tags=["data sets"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.DATASETS_READ])]
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.DATASETS_WRITE])]
DatasetName = Annotated[Name, Path(examples=["cats"])]
Number = Annotated[int, Path(ge=1, le=10**9, examples=[1])]


@router.post("", status_code=201, responses=responses(409))
def create_dataset(caller: Writer, gateway: Gw, body: DatasetRequest, response: Response) -> DatasetVersion:
    """Make a data set, or the next version of one that exists.

    With an `upload` source, send the content to `upload_url` and complete it. With a `path` or a `public` source,
    validation is queued at once; its job is `validation_job_id`.
    """
    return _begin(caller, gateway, body.name, body, response)


@router.post("/{name}/versions", status_code=201, responses=responses(404, 409))
def create_version(
    caller: Writer, gateway: Gw, name: DatasetName, body: VersionRequest, response: Response
) -> DatasetVersion:
    """Make the next version of a data set."""
    with gateway.reading() as session:
        registry.find_dataset(session, caller.project_id, name)
    return _begin(caller, gateway, name, body, response)


def _begin(caller: Caller, gateway: Gw, name: str, body: VersionRequest, response: Response) -> DatasetVersion:
    roots = gateway.settings.platform.data_roots
    with gateway.writing() as session:
        made = service.begin(session, caller.project_id, name, body, roots)
    response.headers["Location"] = f"/v1/datasets/{made.dataset}/versions/{made.version}"
    return made


@router.get("", responses=responses())
def list_datasets(caller: Reader, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Dataset]:
    """List data sets, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, cursor, limit)


@router.get("/{name}", responses=responses(404))
def get_dataset(caller: Reader, gateway: Gw, name: DatasetName) -> DatasetDetail:
    """One data set with its versions."""
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
