"""/login and /logout"""

from typing import Annotated

from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from libs.web.auth import Public
from libs.web.problems import UnauthorizedError
from services.gateway.context import Gw
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session import service
from services.gateway.dashboard.session.visit import COOKIE, Form, SomeVisitor, check_origin
from services.gateway.dashboard.templating import render

router = Pages()
Next = Annotated[str, Query(alias="next", max_length=2000)]


@router.get("/login", response_model=None, dependencies=[Public])
def login_page(request: Request, onward: Next = "/") -> Response:
    """Where a key is asked for."""
    return render(request, "login.html", next=_local(onward), message="")


@router.post("/login", response_model=None, dependencies=[Public], openapi_extra={"requestBody": {}})
async def log_in(request: Request, gateway: Gw, form: Form) -> Response:
    """Begin a session; the answer to every key that is not valid is the same."""
    check_origin(request)
    address = request.client.host if request.client else ""
    wrong_keys: service.WrongKeys = request.app.state.wrong_keys
    wrong_keys.check(address)
    onward = _local(form.get("next", "/"))
    try:
        token = await run_in_threadpool(service.log_in, gateway, form.get("key"))
    except UnauthorizedError as error:
        wrong_keys.note(address)
        return await run_in_threadpool(render, request, "login.html", 401, next=onward, message=error.detail)
    answer = RedirectResponse(onward, 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


@router.action("/logout")
def log_out(request: Request, gateway: Gw, _: SomeVisitor) -> Response:
    """End the session."""
    service.log_out(gateway, request.cookies[COOKIE])
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return answer


def _local(address: str) -> str:
    """An address of this site; anything else, which could lead elsewhere, is the overview."""
    is_local = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_local else "/"
