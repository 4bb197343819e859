"""Limits on request bodies: refused by their announced length, or cut off while they stream."""

import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.web.problems import problem_response


class BodyLimit:
    """ASGI middleware: `default_bytes` for every path, other limits for the paths that match a pattern.

    A longer body is answered by 413 before any of it is read, when its length is announced; else when it gets there.
    """

    def __init__(self, app: ASGIApp, default_bytes: int, limits: Sequence[tuple[str, int]] = ()) -> None:
        self.app = app
        self._default_bytes = default_bytes
        self._limits = [(re.compile(pattern), limit) for pattern, limit in limits]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        if _announced(scope) > limit:
            await problem_response(413, "too_large", _too_large(limit))(scope, receive, send)
            return
        await self.app(scope, _Counted(receive, limit), send)

    def _limit_of(self, path: str) -> int:
        return next((limit for pattern, limit in self._limits if pattern.fullmatch(path)), self._default_bytes)


class _Counted:
    """The body of one request; a chunk that goes over the limit is an error for whoever reads it."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive, self._limit_bytes, self._seen_bytes = receive, limit_bytes, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen_bytes += len(message.get("body", b""))
        if self._seen_bytes > self._limit_bytes:
            raise HTTPException(413, _too_large(self._limit_bytes))
        return message


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _too_large(limit_bytes: int) -> str:
    return f"The request body is over the limit of {limit_bytes} bytes."
