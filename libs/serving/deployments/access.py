"""Who may ask."""

from typing import Annotated

from fastapi import Security

from libs.web.auth import Caller, Scope, authenticate

MayInfer = Annotated[Caller, Security(authenticate, scopes=[Scope.INFER])]
MayReadDeployments = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_READ])]
MayWriteDeployments = Annotated[Caller, Security(authenticate, scopes=[Scope.DEPLOYMENTS_WRITE])]
