"""The Open Inference Protocol v2. A served name is a deployment; its version is the model version that serves."""

from importlib.metadata import version as installed_version

import anyio
from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from libs.serving.classifier import LoadedClassifier
from libs.serving.deployments.access import MayInfer
from libs.serving.wire import HEADER_LENGTH, Answer, Decoded, decode_request, encode_answer
from libs.web.auth import Public
from libs.web.body import read_body
from libs.web.problems import problem_responses
from libs.web.routing import Router
from libs.web.timing import span
from services.model_server.compute import compute
from services.model_server.context import Srv

router = Router(prefix="/v2", tags=["v2"])
_LARGE_BYTES = 256 * 1024
"""JSON above this is parsed in a thread, so that other requests do not wait for it."""
_TENSORS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_ASKED = problem_responses(400, 404, 413, 503, 504)


class ServerMetadata(BaseModel):
    """What answers."""

    name: str = "octavo"
    version: str
    extensions: list[str]


class Tensor(BaseModel):
    """A tensor of a signature; -1 is a free dimension."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A served model."""

    name: str
    versions: list[str]
    platform: str = "onnxruntime_onnx"
    inputs: list[Tensor]
    outputs: list[Tensor]
    parameters: dict[str, str | int | float | list[str]] = Field(description="model, digest, labels, temperature")


@router.get("", dependencies=[Public])
async def server_metadata() -> ServerMetadata:
    """What answers, and which extensions it has."""
    extensions = ["binary_tensor_data", "classification", "model_repository"]
    return ServerMetadata(version=installed_version("octavo"), extensions=extensions)


@router.get("/health/live", dependencies=[Public])
async def live() -> dict[str, bool]:
    """Whether the process answers."""
    return {"live": True}


@router.get("/health/ready", dependencies=[Public], responses=problem_responses(503))
async def ready(server: Srv) -> JSONResponse:
    """Whether every deployment known at the start has been tried."""
    is_ready = server.runtime.is_ready
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/models/{name}", responses=problem_responses(404))
@router.get("/models/{name}/versions/{version}", responses=problem_responses(404))
async def model_metadata(name: str, server: Srv, caller: MayInfer, version: str | None = None) -> ModelMetadata:
    """Signature, labels and identity of a served model."""
    with server.runtime.hold(caller.project_id, name, version) as model:
        bundle = model.bundle
        return ModelMetadata(
            name=name,
            versions=[str(model.identity.version)],
            inputs=[Tensor(**spec.model_dump()) for spec in bundle.inputs],
            outputs=[Tensor(**spec.model_dump()) for spec in bundle.outputs],
            parameters={
                "model": model.identity.model_name,
                "digest": model.identity.digest,
                "labels": bundle.labels,
                "temperature": bundle.temperature,
            },
        )


@router.get("/models/{name}/ready", responses=problem_responses(404))
@router.get("/models/{name}/versions/{version}/ready", responses=problem_responses(404))
async def model_ready(name: str, server: Srv, caller: MayInfer, version: str | None = None) -> dict[str, bool | str]:
    """Whether a model can be asked."""
    with server.runtime.hold(caller.project_id, name, version):
        return {"name": name, "ready": True}


@router.post("/models/{name}/infer", responses=_ASKED, openapi_extra=_TENSORS)
@router.post("/models/{name}/versions/{version}/infer", responses=_ASKED, openapi_extra=_TENSORS)
async def infer(name: str, request: Request, server: Srv, caller: MayInfer, version: str | None = None) -> Response:
    """Run a model on tensors, as JSON or with the binary tensor extension."""
    body = await read_body(request, server.settings.max_body_bytes)
    header_length = request.headers.get(HEADER_LENGTH)
    with server.runtime.serve(caller.project_id, name, version) as model:
        decoded = await _decode(body, header_length, model)
        output = await compute(model, decoded.rows)
        described = {
            "model_name": name,
            "model_version": str(model.identity.version),
            "parameters": {"model": model.identity.model_name, "digest": model.identity.digest},
        }
        with span("encode"):
            answer: Answer = encode_answer(
                decoded.request, model.bundle.outputs[0], output, model.bundle.labels, described
            )
    return Response(answer.body, media_type=answer.media_type, headers=answer.headers)


async def _decode(body: bytes, header_length: str | None, model: LoadedClassifier) -> Decoded:
    spec, max_rows = model.bundle.inputs[0], model.settings.max_batch_size
    with span("decode"):
        if header_length is None and len(body) > _LARGE_BYTES:
            return await anyio.to_thread.run_sync(decode_request, body, header_length, spec, max_rows)
        return decode_request(body, header_length, spec, max_rows)
