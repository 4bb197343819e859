"""/v1/deployments: which models are served, under which names"""

from typing import Annotated

from fastapi import Path, Security
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.jobs.names import Name
from libs.registry import deployments as registry
from libs.web.auth import Caller, Scope, authenticate
from libs.web.idempotency import Answer
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.deployments import service
from services.gateway.deployments.schemas import Deployment, DeploymentChange, DeploymentRequest
from services.gateway.idempotency.once import Creates

router = Router(prefix="/v1/deployments", tags=["deployments"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_READ])]
Writer = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_WRITE])]
DeploymentName = Annotated[Name, Path(examples=["cats"])]


@router.post("", status_code=201, response_model=Deployment, responses=responses(409))
def create_deployment(caller: Writer, body: DeploymentRequest, creation: Creates) -> JSONResponse:
    """Serve a model under a name. It is `loading` until a model server reports it `ready`."""

    def work(session: Session) -> Answer:
        made = service.create(session, caller.project_id, body)
        return Answer(201, made.model_dump(mode="json"), {"Location": f"/v1/deployments/{made.name}"})

    return creation.once(caller, work)


@router.get("", responses=responses())
def list_deployments(caller: Reader, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Deployment]:
    """List deployments, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller.project_id, cursor, limit)


@router.get("/{name}", responses=responses(404))
def get_deployment(caller: Reader, gateway: Gw, name: DeploymentName) -> Deployment:
    """One deployment: what it should serve, and what it serves."""
    with gateway.reading() as session:
        return service.detail(session, caller.project_id, name)


@router.put("/{name}", responses=responses(404, 409))
def change_deployment(caller: Writer, gateway: Gw, name: DeploymentName, body: DeploymentChange) -> Deployment:
    """Serve another version under this name, or serve it otherwise. The old one answers until the new one is ready."""
    with gateway.writing() as session:
        return service.change(session, caller.project_id, name, body)


@router.delete("/{name}", status_code=204, responses=responses(404, 409))
def delete_deployment(caller: Writer, gateway: Gw, name: DeploymentName) -> None:
    """Stop serving under this name; refused while another deployment shares its requests with it."""
    with gateway.writing() as session:
        registry.delete_deployment(session, caller.project_id, name)
