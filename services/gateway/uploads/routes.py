"""/v1/uploads: model files for import jobs"""

from pathlib import Path
from typing import Annotated

from fastapi import Query, Request, Security
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from libs.jobs.dataset_spec import FileName
from libs.web.auth import Caller, Scope, authenticate
from libs.web.idempotency import Answer
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.idempotency.once import Creates, Creation
from services.gateway.uploads import service
from services.gateway.uploads.schemas import UploadedFile

router = Router(prefix="/v1/uploads", tags=["models"])
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.MODELS_WRITE])]
_BODY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.post(
    "",
    status_code=201,
    response_model=UploadedFile,
    responses=responses(413, 415, 507),
    openapi_extra={"requestBody": _BODY},
)
async def upload_model_file(
    caller: Writer,
    request: Request,
    creation: Creates,
    name: Annotated[FileName, Query(description="The file's name.", examples=["model.onnx"])],
) -> JSONResponse:
    """Upload an ONNX or safetensors file. Then submit a job `import-onnx` or `import-safetensors` that names its id.

    Pickles (`.pth`, `.pt`, `.pkl`, `.ckpt`) are refused whatever they are called: convert them on your own machine
    with `octavo convert`.
    """
    service.refuse_pickle(name)
    path = await service.receive(request.stream(), creation.gateway.settings.platform.home / "incoming")
    return await run_in_threadpool(_keep, creation, caller, name, path)


def _keep(creation: Creation, caller: Caller, name: str, path: Path) -> JSONResponse:
    try:
        kind = service.kind_of(path)
        stored = creation.gateway.store.put_file(path)
    finally:
        path.unlink()

    def work(session: Session) -> Answer:
        made = service.record(session, caller.project_id, name, kind, stored)
        return Answer(201, made.model_dump(mode="json"))

    return creation.once(caller, work, content=stored.digest)
