"""Who may ask. Known keys are checked on the event loop, without a thread in between; others are looked up first."""

from typing import Annotated

import anyio
from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from libs.web.auth import Caller, Scope, authenticate
from services.model_server.keys import CachedKeys

_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="`Bearer oct_<prefix>_<secret>`")


async def authorise(
    request: Request,
    wanted: SecurityScopes,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Caller:
    """The caller of this request, who carries every scope the route declares; see `libs.web.auth.authenticate`."""
    keys: CachedKeys = request.app.state.keys
    if credentials is None or keys.knows(credentials.credentials):
        return authenticate(request, wanted, credentials)
    return await anyio.to_thread.run_sync(authenticate, request, wanted, credentials)


MayInfer = Annotated[Caller, Security(authorise, scopes=[Scope.INFER])]
MayReadDeployments = Annotated[Caller, Security(authorise, scopes=[Scope.DEPLOYMENTS_READ])]
MayWriteDeployments = Annotated[Caller, Security(authorise, scopes=[Scope.DEPLOYMENTS_WRITE])]
