"""Routes that answer people: every error is a page that says what happened, in the words of the API's own problem."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from libs.jobs.errors import RequestRefused
from libs.web.problems import FieldProblem, ProblemError, UnauthorizedError, UnprocessableError, invalid_request
from libs.web.routing import Handler, Router, StrictRoute
from services.gateway.dashboard.templating import render
from services.gateway.errors import PROBLEMS

log = structlog.get_logger("octavo.dashboard")
_TITLES = {
    403: "Your key may not do this",
    404: "There is no such thing",
    409: "That does not go now",
    412: "It changed meanwhile",
    422: "This cannot be done as asked",
    500: "Something went wrong on our side",
    503: "A part of Octavo is away",
}
_API = ("/v1", "/v2", "/docs", "/static", "/openapi.json", "/livez", "/readyz", "/metrics", "/version")


class PageRoute(StrictRoute):
    """A route whose errors are pages; who is not logged in is led to the login."""

    def get_route_handler(self) -> Handler:
        """The route's handler, its errors shown."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                return error_page(request, error)

        return shown


class Pages(Router):
    """A router of pages. They are no part of the API: the OpenAPI document does not name them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(include_in_schema=False, default_response_class=Response, **options)
        self.route_class = PageRoute

    def action(self, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A form's target."""
        return self.post(path, response_model=None, openapi_extra={"requestBody": {}})

    def page(self, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A page, or a part of one."""
        return self.get(path, response_model=None)


def done(address: str, request: Request) -> Response:
    """Lead on to `address` after something was done."""
    if is_partial(request):
        return Response(status_code=204, headers={"HX-Redirect": address})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


def is_partial(request: Request) -> bool:
    """Whether htmx asks, and swaps the answer into the page it has."""
    return request.headers.get("hx-request") == "true"


def wants_page(request: Request) -> bool:
    """Whether a browser is on its way to an address that is not the API's."""
    path = request.url.path
    of_api = any(path == root or path.startswith(f"{root}/") for root in _API)
    return not of_api and "text/html" in request.headers.get("accept", "")


def error_page(request: Request, error: Exception) -> Response:
    """What happened, for people."""
    if isinstance(error, UnauthorizedError):
        return _to_login(request)
    found = _problem_of(request, error)
    if found is None:
        log.error("unexpected error", path=request.url.path, exc_info=error)
        detail = "An unexpected error happened; the log of the gateway has it under the request id below."
        return _page(request, 500, detail)
    return _page(request, found.status, found.detail, found.errors)


def _page(request: Request, status: int, detail: str, errors: Any = ()) -> Response:
    title = _TITLES.get(status, HTTPStatus(status).phrase)
    template = "error_part.html" if is_partial(request) else "error.html"
    return render(request, template, status, title=title, detail=detail, errors=errors, status=status)


def _problem_of(request: Request, error: Exception) -> ProblemError | None:
    if isinstance(error, RequestValidationError):
        return invalid_request(request, error)
    return problem_of(error)


REFUSALS = (UnprocessableError, RequestRefused)
"""What a form is shown again for, with the problems beside its fields."""


def problems_of(error: Exception) -> list[FieldProblem]:
    """What is wrong with a form, at least one thing."""
    found = problem_of(error)
    return (found.errors if found else []) or [FieldProblem(pointer="", message=str(error))]


def problem_of(error: Exception) -> ProblemError | None:
    """The API's problem of an exception; None for one that nobody expects."""
    if isinstance(error, ProblemError):
        return error
    convert = next((PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS), None)
    return None if convert is None else convert(error)


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if is_partial(request):
        current = urlsplit(request.headers.get("hx-current-url", "/"))
        here = current.path + (f"?{current.query}" if current.query else "")
        return Response(status_code=204, headers={"HX-Redirect": f"/login?next={quote(here)}"})
    if request.method != "GET":
        here = "/"
    if "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=401)
    return RedirectResponse(f"/login?next={quote(here)}", HTTPStatus.SEE_OTHER)


def show_missing(app: FastAPI) -> None:
    """Answer a browser that asks for an address that is not there with a page, and everything else as before."""
    as_problem: Any = app.exception_handlers[HTTPException]

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code in (404, 405) and wants_page(request):
            return _page(request, 404, "There is no page at this address.")
        answer: Response = await as_problem(request, error)
        return answer

    app.add_exception_handler(HTTPException, handle)
