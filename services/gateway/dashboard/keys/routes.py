"""/keys: the keys of the project"""

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request
from pydantic import ValidationError
from starlette.responses import Response

from libs.web.auth import Scope
from libs.web.paging import CursorText
from libs.web.problems import FieldProblem, UnprocessableError, validation_problem
from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.pages import Pages, done
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, ManagesKeys
from services.gateway.dashboard.templating import render
from services.gateway.keys import service
from services.gateway.keys.schemas import CreatedKey, KeyRequest

router = Pages(prefix="/keys")
_A_PAGE = 50


@router.page("")
def keys_page(request: Request, gateway: Gw, visitor: ManagesKeys, cursor: CursorText = None) -> Response:
    """The keys, newest first, and the form of a new one."""
    return _page(request, gateway, visitor, cursor=cursor)


def _page(
    request: Request,
    gateway: Gateway,
    visitor: Visitor,
    *,
    cursor: str | None = None,
    typed: FormData | None = None,
    problems: Sequence[FieldProblem] = (),
    made: CreatedKey | None = None,
) -> Response:
    with gateway.reading() as session:
        keys = service.listing(session, visitor.caller, cursor, _A_PAGE)
    scopes = [(scope.value, visitor.caller.may(scope)) for scope in Scope]
    shown = {"keys": keys, "cursor": cursor, "scopes": scopes, "typed": typed or FormData(), "made": made}
    return render(request, "keys.html", 422 if problems else 200, problems=problems, **shown)


@router.action("")
def create(request: Request, gateway: Gw, visitor: ManagesKeys, form: Form) -> Response:
    """Make a key and show its text, once."""
    try:
        wanted = KeyRequest.model_validate({"name": form.get("name"), "scopes": form.all("scopes")})
    except ValidationError as error:
        problem: UnprocessableError = validation_problem(error)
        return _page(request, gateway, visitor, typed=form, problems=problem.errors)
    with gateway.writing() as session:
        made = service.create(session, visitor.caller, wanted)
    return _page(request, gateway, visitor, made=made)


@router.action("/{key_id}/revoke")
def revoke(request: Request, gateway: Gw, visitor: ManagesKeys, key_id: UUID) -> Response:
    """Make a key invalid at once."""
    with gateway.writing() as session:
        service.revoke(session, visitor.caller, key_id)
    gateway.keys.forget()
    return done("/keys", request)
