"""Under /v2, problem documents also carry the protocol's own `error` member, which its clients read."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

Handler = Callable[[Request, Any], Awaitable[JSONResponse]]


def add_error_member(app: FastAPI) -> None:
    """Wrap the installed exception handlers; call after `libs.web.problems.install`."""
    for kind, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(kind, _wrapped(cast(Handler, handler)))


def _wrapped(handler: Handler) -> Handler:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        response = await handler(request, error)
        if not request.url.path.startswith("/v2") or response.media_type != "application/problem+json":
            return response
        problem = json.loads(bytes(response.body))
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        content = {**problem, "error": problem["detail"]}
        return JSONResponse(content, response.status_code, headers, media_type=response.media_type)

    return handle
