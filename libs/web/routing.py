"""Routes that refuse what they would ignore: unknown query parameters, a body nobody reads, a body of another kind."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.responses import Response

from libs.web.field_errors import suggestion
from libs.web.problems import MOST_FIELDS, FieldProblem, UnprocessableError, UnsupportedMediaTypeError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRoute(APIRoute):
    """A route whose requests hold nothing but what it declares. A raw body is declared by `openapi_extra`."""

    def get_route_handler(self) -> Handler:
        """The route's handler, behind its checks."""
        handle: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))
        takes_json = self.body_field is not None
        takes_body = takes_json or "requestBody" in (self.openapi_extra or {})

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _check_query(request, known)
            if _has_body(request):
                if not takes_body:
                    raise UnprocessableError("This address takes no body; leave it out.", errors=[_NO_BODY])
                if takes_json:
                    _check_json(request)
            return await handle(request)

        return strict


class Router(APIRouter):
    """An `APIRouter` whose routes are strict."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=StrictRoute, redirect_slashes=False, **options)


_NO_BODY = FieldProblem(pointer="", message="This address takes no body.")


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for below in dependant.dependencies:
        yield from _query_names(below)


def _check_query(request: Request, known: frozenset[str]) -> None:
    unknown = sorted(request.query_params.keys() - known)
    if unknown:
        fields = [_unknown_parameter(name, known) for name in unknown[:MOST_FIELDS]]
        raise UnprocessableError(f"{unknown[0][:80]}: {fields[0].message}", errors=fields)


def _unknown_parameter(name: str, known: frozenset[str]) -> FieldProblem:
    message = "There is no such query parameter." + suggestion(name, known)
    return FieldProblem(pointer=f"/{name[:80]}", message=message, location="query")


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _check_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnsupportedMediaTypeError("Send JSON, with the header `Content-Type: application/json`.")
