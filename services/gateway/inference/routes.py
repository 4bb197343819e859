"""/v2 and /v1/classify, answered by the model server: one address and one key do"""

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Security
from starlette.responses import StreamingResponse

from libs.jobs.names import Name
from libs.web.auth import Caller, Public, Scope, authenticate
from libs.web.problems import problem_responses, responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.examples import TENSORS
from services.gateway.inference.proxy import forward

router = Router(tags=["inference"])
Infers = Annotated[Caller, Security(authenticate, scopes=[Scope.INFER])]
ReadsDeployments = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_READ])]
WritesDeployments = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_WRITE])]
DeploymentName = Annotated[Name, Path(examples=["cats"])]
Number = Annotated[int, Path(ge=1, le=10**9)]


async def _named(name: DeploymentName) -> None:
    """Declares the path parameter of routes that only pass it on."""


async def _numbered(name: DeploymentName, number: Number) -> None:
    """Declares the path parameters of routes that only pass them on."""


_NAMED, _NUMBERED = Depends(_named), Depends(_numbered)
_DOWN = (502, 503, 504)
_PROBLEMS = responses(404, 413, 415, *_DOWN)
_PICTURE = {"requestBody": {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}
_TENSORS = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": TENSORS},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
_INDEX = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}, "example": {"ready": True}}}}}
_PARAMETERS = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}, "example": {}}}}}
"""Clients of the protocol send parameters of other servers here; none of them has a meaning in Octavo."""


async def _chosen(top_k: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 5) -> None:
    """Declares the query parameter of a route that only passes it on."""


@router.post(
    "/v1/classify/{name}", dependencies=[_NAMED, Depends(_chosen)], responses=_PROBLEMS, openapi_extra=_PICTURE
)
async def classify(_: Infers, gateway: Gw, request: Request) -> StreamingResponse:
    """Classify the picture in the body with a deployed model: labels and probabilities, best first."""
    return await forward(gateway.model_server, request)


@router.get("/v2", dependencies=[Public], responses=problem_responses(*_DOWN))
async def server_metadata(gateway: Gw, request: Request) -> StreamingResponse:
    """v2: which server answers, and which extensions it has."""
    return await forward(gateway.model_server, request)


@router.get("/v2/health/live", dependencies=[Public], responses=problem_responses(*_DOWN))
async def server_live(gateway: Gw, request: Request) -> StreamingResponse:
    """v2: whether the model server answers."""
    return await forward(gateway.model_server, request)


@router.get("/v2/health/ready", dependencies=[Public], responses=problem_responses(*_DOWN))
async def server_ready(gateway: Gw, request: Request) -> StreamingResponse:
    """v2: whether every deployment is loaded."""
    return await forward(gateway.model_server, request)


@router.get("/v2/models/{name}", dependencies=[_NAMED], responses=_PROBLEMS)
@router.get("/v2/models/{name}/versions/{number}", dependencies=[_NUMBERED], responses=_PROBLEMS)
async def model_metadata(_: Infers, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: inputs and outputs of a deployed model."""
    return await forward(gateway.model_server, request)


@router.get("/v2/models/{name}/ready", dependencies=[_NAMED], responses=_PROBLEMS)
@router.get("/v2/models/{name}/versions/{number}/ready", dependencies=[_NUMBERED], responses=_PROBLEMS)
async def model_ready(_: Infers, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: whether a deployed model answers."""
    return await forward(gateway.model_server, request)


@router.post("/v2/models/{name}/infer", dependencies=[_NAMED], responses=_PROBLEMS, openapi_extra=_TENSORS)
@router.post(
    "/v2/models/{name}/versions/{number}/infer",
    dependencies=[_NUMBERED],
    responses=_PROBLEMS,
    openapi_extra=_TENSORS,
)
async def infer(_: Infers, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: run a deployed model on tensors, as JSON or binary."""
    return await forward(gateway.model_server, request)


@router.post("/v2/repository/index", responses=responses(*_DOWN), openapi_extra=_INDEX)
async def repository_index(_: ReadsDeployments, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: every deployment, as the model server has it."""
    return await forward(gateway.model_server, request)


@router.post("/v2/repository/models/{name}/load", dependencies=[_NAMED], responses=_PROBLEMS, openapi_extra=_PARAMETERS)
async def load_model(_: WritesDeployments, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: load a deployment again, or deploy the model of this name."""
    return await forward(gateway.model_server, request)


@router.post(
    "/v2/repository/models/{name}/unload", dependencies=[_NAMED], responses=_PROBLEMS, openapi_extra=_PARAMETERS
)
async def unload_model(_: WritesDeployments, gateway: Gw, request: Request) -> StreamingResponse:
    """v2: stop serving a deployment; its row stays."""
    return await forward(gateway.model_server, request)
