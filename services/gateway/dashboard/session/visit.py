"""Who asks for a page: the cookie's session, the scope the route declares, and proof that a form is ours."""

import hmac
from typing import Annotated
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import SecurityScopes
from starlette.concurrency import run_in_threadpool

from libs.web.auth import Scope
from libs.web.problems import ForbiddenError, UnauthorizedError
from libs.web.timing import span
from services.gateway.context import Gw
from services.gateway.dashboard.forms import FormData, is_form, read_form
from services.gateway.dashboard.session.service import Visitor, visitor_of

COOKIE = "octavo_session"
CSRF_FIELD = "csrf_token"
_SAFE = ("GET", "HEAD")
_MOST_TOKEN_CHARS = 100


async def visit(request: Request, wanted: SecurityScopes, gateway: Gw) -> Visitor:
    """The visitor of this request, who carries every scope the route declares.

    Raises:
        UnauthorizedError: nobody is logged in.
        ForbiddenError: the key lacks a scope, or the request does not come from one of our own pages.
    """
    token = request.cookies.get(COOKIE, "")
    if not token or len(token) > _MOST_TOKEN_CHARS:
        raise UnauthorizedError("Log in first.")
    with span("auth"):
        visitor = await run_in_threadpool(visitor_of, gateway, token)
    structlog.contextvars.bind_contextvars(key_id=str(visitor.caller.key_id))
    request.state.visitor = visitor
    if request.method not in _SAFE:
        check_origin(request)
        await _check_csrf(request, visitor)
    require(visitor, *wanted.scopes)
    return visitor


def require(visitor: Visitor, *scopes: str) -> None:
    """Refuse a visitor whose key lacks a scope.

    Raises:
        ForbiddenError: which.
    """
    missing = [scope for scope in scopes if not visitor.caller.may(scope)]
    if missing:
        raise ForbiddenError(f"The key {visitor.key_name!r} lacks the scope {', '.join(missing)}.")


def check_origin(request: Request) -> None:
    """Refuse what another site's page sent.

    Raises:
        ForbiddenError: the browser says that it did.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    from_elsewhere = (
        site not in ("same-origin", "none")
        if site is not None  # the browser's own word, right behind any proxy
        else origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    )
    if from_elsewhere:
        raise ForbiddenError("This request was sent by a page of another site.", code="cross_site")


async def _check_csrf(request: Request, visitor: Visitor) -> None:
    sent = request.headers.get("x-csrf-token", "")
    if not sent and is_form(request):
        sent = (await read_form(request)).get(CSRF_FIELD)
    if not hmac.compare_digest(sent.encode(), visitor.csrf.encode()):
        raise ForbiddenError("This form is not of your session; load the page again and repeat.", code="csrf")


Form = Annotated[FormData, Depends(read_form)]
SomeVisitor = Annotated[Visitor, Security(visit)]
ReadsJobs = Annotated[Visitor, Security(visit, scopes=[Scope.JOBS_READ])]
WritesJobs = Annotated[Visitor, Security(visit, scopes=[Scope.JOBS_WRITE])]
ReadsDatasets = Annotated[Visitor, Security(visit, scopes=[Scope.DATASETS_READ])]
WritesDatasets = Annotated[Visitor, Security(visit, scopes=[Scope.DATASETS_WRITE])]
ReadsModels = Annotated[Visitor, Security(visit, scopes=[Scope.MODELS_READ])]
WritesModels = Annotated[Visitor, Security(visit, scopes=[Scope.MODELS_WRITE])]
ReadsDeployments = Annotated[Visitor, Security(visit, scopes=[Scope.DEPLOYMENTS_READ])]
WritesDeployments = Annotated[Visitor, Security(visit, scopes=[Scope.DEPLOYMENTS_WRITE])]
ManagesKeys = Annotated[Visitor, Security(visit, scopes=[Scope.KEYS_MANAGE])]
ReadsFeedback = Annotated[Visitor, Security(visit, scopes=[Scope.EVENTS_READ])]
Tries = Annotated[Visitor, Security(visit, scopes=[Scope.INFER, Scope.DEPLOYMENTS_READ])]
