"""/v1/methods"""

from typing import Annotated

from fastapi import Path, Security

from libs.web.auth import Caller, Scope, authenticate
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.methods import service
from services.gateway.methods.schemas import MethodDetail, MethodList

router = Router(prefix="/v1/methods", tags=["methods"])
Reader = Annotated[Caller, Security(authenticate, scopes=[Scope.JOBS_READ])]


@router.get("", responses=responses())
def list_methods(_: Reader) -> MethodList:
    """List the training methods and the platform's own tasks."""
    return MethodList(items=service.listing())


@router.get("/{name}", responses=responses(404))
def get_method(_: Reader, name: Annotated[str, Path(max_length=100, examples=["frskd"])]) -> MethodDetail:
    """One method, with what it reads and the JSON Schema and default of every hyper-parameter."""
    return service.detail(name)
