"""/v1/datasets/{name}/versions/{number}/upload: resumable uploads of any size"""

from typing import Annotated

from fastapi import Header, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from libs.web.auth import Caller
from libs.web.problems import UnsupportedMediaTypeError, responses
from libs.web.routing import Router
from services.gateway.context import Gateway, Gw
from services.gateway.datasets import service
from services.gateway.datasets.routes import DatasetName, Number, Writer
from services.gateway.datasets.schemas import CompleteRequest, DatasetVersion
from services.gateway.datasets.uploads import Upload, open_upload

router = Router(prefix="/v1/datasets/{name}/versions/{number}", tags=["data sets"])
_MEDIA_TYPES = ("application/offset+octet-stream", "application/octet-stream")
_CHUNK = {"content": {name: {"schema": {"type": "string", "format": "binary"}} for name in _MEDIA_TYPES}}
_OFFSET = {"Upload-Offset": {"schema": {"type": "integer"}, "description": "Bytes that have arrived."}}
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0, le=2**53, description="Where the chunk begins.")]


@router.head("/upload", response_class=Response, responses={**responses(404, 409), 200: {"headers": _OFFSET}})
def get_offset(caller: Writer, gateway: Gw, name: DatasetName, number: Number) -> Response:
    """How much of the upload has arrived: `Upload-Offset`. An interrupted upload goes on from there."""
    return _offset_response(200, _locate(gateway, caller, name, number).offset())


@router.patch(
    "/upload",
    status_code=204,
    response_class=Response,
    responses={**responses(404, 409, 413, 415, 507), 204: {"headers": _OFFSET}},
    openapi_extra={"requestBody": _CHUNK},
)
async def append_chunk(
    caller: Writer, gateway: Gw, name: DatasetName, number: Number, request: Request, offset: Offset
) -> Response:
    """Send a chunk that begins at `Upload-Offset`; the answer's `Upload-Offset` is where the next one begins.

    Whatever arrived of an interrupted chunk is kept. A wrong offset is a 409 that says the right one.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() not in _MEDIA_TYPES:
        raise UnsupportedMediaTypeError(f"Send the bytes themselves, as {' or '.join(_MEDIA_TYPES)}.")
    upload = await run_in_threadpool(_locate, gateway, caller, name, number)
    try:
        end = await upload.append(offset, request.stream(), gateway.settings.max_upload_bytes)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it; the log shows that the chunk broke off
    await run_in_threadpool(_note_received, gateway, caller, name, number, end)
    return _offset_response(204, end)


@router.post("/complete", status_code=202, responses=responses(404, 409))
def complete_upload(
    caller: Writer, gateway: Gw, name: DatasetName, number: Number, body: CompleteRequest | None = None
) -> DatasetVersion:
    """The upload is whole: validate it. The version is `ready` when the job `validation_job_id` has succeeded."""
    upload = _locate(gateway, caller, name, number)
    size_bytes = service.checked_size(upload, body.size_bytes if body else None)
    with gateway.writing() as session:
        return service.complete(session, caller.project_id, name, number, upload.uri, size_bytes)


def _locate(gateway: Gateway, caller: Caller, name: str, number: int) -> Upload:
    with gateway.reading() as session:
        key = service.upload_key(service.uploading(session, caller.project_id, name, number))
    return open_upload(gateway.settings.platform.artifact_root, key)


def _note_received(gateway: Gateway, caller: Caller, name: str, number: int, size_bytes: int) -> None:
    with gateway.writing() as session:
        service.note_received(session, caller.project_id, name, number, size_bytes)


def _offset_response(status: int, offset: int) -> Response:
    return Response(status_code=status, headers={"Upload-Offset": str(offset), "Cache-Control": "no-store"})
