"""/v1/uploads: model files for import jobs"""

from pathlib import Path
from typing import Annotated

from fastapi import Query, Request, Security
from starlette.concurrency import run_in_threadpool

from libs.web.auth import Caller, Scope, authenticate
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gateway, Gw
from services.gateway.datasets.schemas import FileName
from services.gateway.uploads import service
from services.gateway.uploads.schemas import UploadedFile

router = Router(prefix="/v1/uploads", tags=["models"])
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.MODELS_WRITE])]
_BODY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.post("", status_code=201, responses=responses(413, 415, 507), openapi_extra={"requestBody": _BODY})
async def upload_model_file(
    caller: Writer,
    gateway: Gw,
    request: Request,
    name: Annotated[FileName, Query(description="The file's name.", examples=["model.onnx"])],
) -> UploadedFile:
    """Upload an ONNX or safetensors file. Then submit a job `import-onnx` or `import-safetensors` that names its id.

    Pickles (`.pth`, `.pt`, `.pkl`, `.ckpt`) are refused whatever they are called: convert them on your own machine
    with `octavo convert`.
    """
    service.refuse_pickle(name)
    path = await service.receive(request.stream(), gateway.settings.platform.home / "incoming")
    return await run_in_threadpool(_keep, gateway, caller, name, path)


def _keep(gateway: Gateway, caller: Caller, name: str, path: Path) -> UploadedFile:
    try:
        kind = service.kind_of(path)
        stored = gateway.store.put_file(path)
    finally:
        path.unlink()
    with gateway.writing() as session:
        return service.record(session, caller.project_id, name, kind, stored)
