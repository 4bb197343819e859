"""/v1/models: models, versions, lineage, comparison"""

from typing import Annotated

from fastapi import Path, Query, Security
from starlette.responses import StreamingResponse

from libs.jobs.names import Name, Reference
from libs.registry import models as registry
from libs.web.auth import Caller, Scope, authenticate
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.models import service
from services.gateway.models.archive import stream_bundle
from services.gateway.models.schemas import Comparison, Lineage, Model, ModelDetail, VersionDetail, VersionSummary

router = Router(prefix="/v1/models", tags=["models"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.MODELS_READ])]
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.MODELS_WRITE])]
ModelName = Annotated[Name, Path(examples=["cats-frskd"])]
Number = Annotated[int, Path(ge=1, le=10**9 - 1, examples=[1])]


@router.get("", responses=responses())
def list_models(caller: Reader, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Model]:
    """List models, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, cursor, limit)


@router.get("/compare", responses=responses())
def compare_versions(
    caller: Reader, gateway: Gw, version: Annotated[list[Reference], Query(min_length=2, max_length=20)]
) -> Comparison:
    """Two or more versions side by side: `?version=cats@1&version=cats@production`."""
    with gateway.reading() as session:
        return service.compare(session, caller.project_id, version)


@router.get("/{name}", responses=responses(404))
def get_model(caller: Reader, gateway: Gw, name: ModelName) -> ModelDetail:
    """One model with its aliases and newest versions."""
    with gateway.reading() as session:
        return service.detail(session, caller.project_id, name)


@router.delete("/{name}", status_code=204, responses=responses(404, 409))
def delete_model(caller: Writer, gateway: Gw, name: ModelName) -> None:
    """Delete a model that is not deployed. Its files go with the next `octavo gc`."""
    with gateway.writing() as session:
        registry.delete_model(session, caller.project_id, name)


@router.get("/{name}/versions", responses=responses(404))
def list_versions(
    caller: Reader, gateway: Gw, name: ModelName, cursor: CursorText = None, limit: Limit = 50
) -> Page[VersionSummary]:
    """List a model's versions, newest first."""
    with gateway.reading() as session:
        return service.versions(session, caller.project_id, name, cursor, limit)


@router.get("/{name}/versions/{number}", responses=responses(404))
def get_version(caller: Reader, gateway: Gw, name: ModelName, number: Number) -> VersionDetail:
    """One version: signature, preprocessing, labels, metrics, gates and lineage."""
    with gateway.reading() as session:
        return service.version(session, caller.project_id, name, number)


@router.delete("/{name}/versions/{number}", status_code=204, responses=responses(404, 409))
def delete_version(caller: Writer, gateway: Gw, name: ModelName, number: Number) -> None:
    """Delete a version that no alias and no deployment uses. Its number is never used again."""
    with gateway.writing() as session:
        registry.delete_version(session, caller.project_id, name, number)


@router.get("/{name}/versions/{number}/lineage", responses=responses(404))
def get_lineage(caller: Reader, gateway: Gw, name: ModelName, number: Number) -> Lineage:
    """Where a version comes from (job, data, parents, seed, code) and what was made from it."""
    with gateway.reading() as session:
        return service.lineage(session, caller.project_id, name, number)


@router.get(
    "/{name}/versions/{number}/download",
    response_class=StreamingResponse,
    responses={**responses(404), 200: {"content": {"application/zip": {}}}},
)
def download_version(caller: Reader, gateway: Gw, name: ModelName, number: Number) -> StreamingResponse:
    """Download a version as a zip: ONNX, safetensors, preprocessing recipe, labels and lineage."""
    with gateway.reading() as session:
        found = service.find_version(session, caller.project_id, name, number)
    return stream_bundle(gateway.store, found, name)
