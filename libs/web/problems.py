"""Errors over HTTP, as RFC 9457 `application/problem+json`.

ProblemError
├── BadRequestError 400           ├── PreconditionFailedError 412
├── UnauthorizedError 401         ├── TooLargeError 413
├── ForbiddenError 403            ├── UnsupportedMediaTypeError 415
├── NotFoundError 404             ├── UnprocessableError 422
├── ConflictError 409             ├── PreconditionRequiredError 428
├── BadGatewayError 502           ├── UnavailableError 503
├── UpstreamTimeoutError 504       └── InsufficientStorageError 507

Services raise these, or register their own exception classes with `ProblemMap`. Nothing else reaches a client:
an unexpected exception is logged with its traceback and answered by a bare 500 that carries the request id.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, ClassVar, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from libs.web.addresses import methods_at, nearest_address
from libs.web.field_errors import FieldNames, message_of, names_in
from libs.web.request_id import current_request_id

MEDIA_TYPE = "application/problem+json"
MOST_FIELDS = 100
"""Wrong fields that one answer names; a body may have a hundred thousand."""
Location = Literal["body", "query", "path", "header"]


class FieldProblem(BaseModel):
    """What is wrong with one field of a request."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(description="JSON pointer (RFC 6901) into `location`.", examples=["/config/beta"])
    message: str = Field(examples=["Input should be less than or equal to 1000000"])
    location: Location = "body"


class Problem(BaseModel):
    """An error, RFC 9457. `code` is stable: programs may depend on it."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["urn:octavo:problem:invalid_request"])
    title: str = Field(examples=["The request cannot be fulfilled as it stands"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["config.beta: Input should be less than or equal to 1000000"])
    code: str = Field(examples=["invalid_request"])
    request_id: str = Field(examples=["3f0c1e6d0d6f4a7c9d1f8f6f0a4b2c1d"])
    errors: list[FieldProblem] = []


class ProblemError(Exception):
    """Something went wrong; see `detail`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.errors = list(errors)
        self.headers = dict(headers or {})


class BadRequestError(ProblemError):
    """The request cannot be understood."""

    status, code = 400, "bad_request"


class UnauthorizedError(ProblemError):
    """There is no valid API key with the request."""

    status, code = 401, "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="octavo"'})


class ForbiddenError(ProblemError):
    """The key lacks the scope this needs."""

    status, code = 403, "forbidden"


class NotFoundError(ProblemError):
    """There is no such thing in this project."""

    status, code = 404, "not_found"


class ConflictError(ProblemError):
    """The state of the thing does not allow this."""

    status, code = 409, "conflict"


class PreconditionFailedError(ProblemError):
    """It changed since it was read; read it again."""

    status, code = 412, "precondition_failed"


class TooLargeError(ProblemError):
    """The request body is over the limit."""

    status, code = 413, "too_large"


class UnsupportedMediaTypeError(ProblemError):
    """This kind of content is not taken here."""

    status, code = 415, "unsupported_media_type"


class UnprocessableError(ProblemError):
    """The request is well-formed and cannot be done as asked."""

    status, code = 422, "invalid_request"


class PreconditionRequiredError(ProblemError):
    """Send `If-Match` with the ETag that was read."""

    status, code = 428, "precondition_required"


class BadGatewayError(ProblemError):
    """The service behind the gateway gave no usable answer."""

    status, code = 502, "bad_gateway"


class UnavailableError(ProblemError):
    """A part this request needs is not available now."""

    status, code = 503, "unavailable"


class UpstreamTimeoutError(ProblemError):
    """The service behind the gateway took too long."""

    status, code = 504, "upstream_timeout"


class InsufficientStorageError(ProblemError):
    """There is no room for what was sent."""

    status, code = 507, "disk_full"


def pointer(path: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path of keys and indices."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def field_problems(
    errors: Iterable[Mapping[str, Any]], location: Location = "body", names: FieldNames | None = None
) -> list[FieldProblem]:
    """Field problems of pydantic's error list, the first `MOST_FIELDS`.

    Input values are left out, they may be secret or large.
    """
    return [
        FieldProblem(pointer=pointer(error["loc"]), message=message_of(error, names), location=location)
        for error in islice(errors, MOST_FIELDS)
    ]


def validation_problem(
    error: ValidationError, prefix: tuple[str, ...] = (), names: FieldNames | None = None
) -> UnprocessableError:
    """The problem of a body that does not fit its schema.

    Args:
        prefix: where in the body it was found.
        names: the fields there are, for what is said of an unknown one.
    """
    found = error.errors(include_url=False)
    fields = [
        field.model_copy(update={"pointer": pointer(prefix) + field.pointer})
        for field in field_problems(found, names=names)
    ]
    return UnprocessableError(summary_of(fields), errors=fields)


def summary_of(fields: Sequence[FieldProblem]) -> str:
    """The `detail` of a problem with these fields: the first by name, and how many more there are."""
    first = fields[0]
    name = first.pointer.removeprefix("/").replace("/", ".") or first.location
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{name}: {first.message}{more}"


def _request_fields(request: Request, error: RequestValidationError) -> list[FieldProblem]:
    body_field = getattr(request.scope.get("route"), "body_field", None)
    names = names_in(body_field.field_info.annotation) if body_field else None
    fields: list[FieldProblem] = []
    for one in islice(error.errors(), MOST_FIELDS):
        location, *path = one["loc"]
        if one["type"] == "json_invalid":
            one, path = {**one, "msg": f"This is not JSON: {one.get('ctx', {}).get('error', 'syntax error')}"}, []
        where: Location = location if location in ("query", "path", "header") else "body"
        fields += field_problems([{**one, "loc": tuple(path)}], where, names if where == "body" else None)
    return fields


def invalid_request(request: Request, error: RequestValidationError) -> UnprocessableError:
    """The problem of a request that does not fit what its route declares."""
    fields = _request_fields(request, error)
    return UnprocessableError(summary_of(fields), errors=fields)


_TITLES = {422: "The request cannot be fulfilled as it stands", 500: "Something went wrong on our side"}


def problem_response(
    status: int, code: str, detail: str, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer for one problem."""
    problem = Problem(
        type=f"urn:octavo:problem:{code}",
        title=_TITLES.get(status, HTTPStatus(status).phrase),
        status=status,
        detail=detail,
        code=code,
        request_id=current_request_id(),
        errors=list(errors),
    )
    return JSONResponse(problem.model_dump(mode="json"), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def response_of(error: ProblemError) -> JSONResponse:
    """The answer for a raised `ProblemError`."""
    return problem_response(error.status, error.problem_code, error.detail, error.errors, error.headers)


ProblemMap = Mapping[type[Exception], Callable[[Any], ProblemError]]
"""Exception class of a library → the problem it is over HTTP. Subclasses are covered by their base."""


def install(app: FastAPI, mapped: ProblemMap | None = None) -> None:
    """Answer every expected error of `app` with a problem document."""

    async def handle_problem(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProblemError)
        return response_of(error)

    async def handle_invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response_of(invalid_request(request, error))

    async def handle_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _http_problem(request, error)

    app.add_exception_handler(ProblemError, handle_problem)
    app.add_exception_handler(RequestValidationError, handle_invalid)
    app.add_exception_handler(HTTPException, handle_http)
    for kind, convert in (mapped or {}).items():
        app.add_exception_handler(kind, _handler(convert))


def _handler(convert: Callable[[Any], ProblemError]) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(_: Request, error: Exception) -> JSONResponse:
        return response_of(convert(error))

    return handle


def _http_problem(request: Request, error: HTTPException) -> JSONResponse:
    """The framework's own errors."""
    status, cause = error.status_code, error.__cause__
    if status == HTTPStatus.NOT_FOUND:
        return response_of(_no_address(request))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return _no_method(request)
    if isinstance(cause, RecursionError | ValueError):  # raised while the body was parsed
        message = "This is nested too deep." if isinstance(cause, RecursionError) else "This is not JSON in UTF-8."
        field = FieldProblem(pointer="", message=message)
        return response_of(UnprocessableError(f"body: {message}", errors=[field]))
    code = HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    code = "too_large" if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else code
    return problem_response(status, code, str(error.detail), headers=error.headers)


def _no_address(request: Request) -> NotFoundError:
    near = nearest_address(request.app, request.url.path)
    hint = f"Did you mean {near}?" if near else "The API is described at /docs."
    return NotFoundError(f"There is nothing at this address. {hint}")


def _no_method(request: Request) -> JSONResponse:
    methods = methods_at(request.app, request.url.path)
    allow = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
    detail = f"This address does not take this method; it takes {allow}."
    return problem_response(405, "method_not_allowed", detail, headers={"Allow": allow})


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for problems with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of a route that needs a key: 400, 401, 403 and 422, and what else it may answer with."""
    return problem_responses(*{400, 401, 403, 422, *statuses})
