"""The model repository extension of v2: what is loaded, and edits of the deployment rows that decide it."""

from typing import Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.database.engine import transaction
from libs.database.tables import Deployment
from libs.registry import deployments
from libs.registry.errors import DeploymentNotFound, ModelNotFound
from libs.serving.deployments.access import MayReadDeployments, MayWriteDeployments
from libs.serving.deployments.states import Key, State
from libs.web.auth import Caller
from libs.web.problems import UnprocessableError, problem_responses
from libs.web.routing import Router
from services.model_server.context import Server, Srv

router = Router(prefix="/v2/repository", tags=["v2 repository"])
_PARAMETERS = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}
"""Clients of the protocol send parameters of other servers here; none of them has a meaning in Octavo."""


class IndexRequest(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="ignore")

    ready: bool = Field(default=False, description="Only those that can be asked now.")


class IndexEntry(BaseModel):
    """One deployment on this server."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


class LoadState(BaseModel):
    """What became of a load request."""

    name: str
    state: Literal["READY", "LOADING"]
    version: str | None = None


@router.post("/index")
async def index(server: Srv, caller: MayReadDeployments, wanted: IndexRequest | None = None) -> list[IndexEntry]:
    """Every deployment of the project, as this server has it."""
    states = server.runtime.states.of_project(caller.project_id)
    entries = [_entry(name, state) for name, state in states.items()]
    return [entry for entry in entries if entry.state == "READY" or not (wanted and wanted.ready)]


@router.post(
    "/models/{name}/load",
    responses={202: {"model": LoadState}, **problem_responses(404)},
    openapi_extra=_PARAMETERS,
)
def load(name: str, server: Srv, caller: MayWriteDeployments, response: Response) -> LoadState:
    """Load a deployment (again), and wait for it. A model of this name that is not deployed yet is deployed."""
    row = _ask_to_load(server, caller, name)
    key = Key(caller.project_id, name)
    state = server.runtime.states.wait_settled(key, row.updated_at, server.settings.load_wait_s)
    if state is None:
        response.status_code = 202
        return LoadState(name=name, state="LOADING")
    if state.reason:
        raise UnprocessableError(f"{name!r} could not be loaded: {state.reason}", code="load_failed")
    return LoadState(name=name, state="READY", version=str(state.version))


@router.post("/models/{name}/unload", responses=problem_responses(404), status_code=202, openapi_extra=_PARAMETERS)
def unload(name: str, server: Srv, caller: MayWriteDeployments) -> dict[str, str]:
    """Stop serving a deployment on every server; its row stays and can be loaded again."""
    with transaction(server.runtime.engine) as session:
        deployments.set_loaded(session, caller.project_id, name, loaded=False)
    return {"name": name, "state": "UNAVAILABLE"}


def _ask_to_load(server: Server, caller: Caller, name: str) -> Deployment:
    with transaction(server.runtime.engine) as session:
        try:
            return deployments.set_loaded(session, caller.project_id, name, loaded=True)
        except DeploymentNotFound as missing:
            try:
                row = deployments.create_deployment(session, caller.project_id, name, name)
            except ModelNotFound:
                raise missing from None
        session.refresh(row)
        return row


def _entry(name: str, state: State) -> IndexEntry:
    return IndexEntry(name=name, version=str(state.version), state=state.state, reason=state.reason or "")
