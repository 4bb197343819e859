"""Limits on request bodies: refused by their announced length, or cut off while they stream, or when nothing comes."""

import asyncio
import re
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.web.problems import problem_response


class BodyLimit:
    """ASGI middleware: `default_bytes` for every path, other limits for the paths that match a pattern.

    A longer body is answered by 413 before any of it is read, when its length is announced; else when it gets there.
    A client that begins a body and sends nothing for `stall_s` seconds is answered by 408: whose network is gone says
    no goodbye, and what it holds here, such as the lock of an upload, would be held for hours.
    """

    def __init__(
        self, app: ASGIApp, default_bytes: int, limits: Sequence[tuple[str, int]] = (), stall_s: float = 60.0
    ) -> None:
        self.app = app
        self._default_bytes = default_bytes
        self._stall_s = stall_s
        self._limits = [(re.compile(pattern), limit) for pattern, limit in limits]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        if _announced(scope) > limit:
            await problem_response(413, "too_large", _too_large(limit))(scope, receive, send)
            return
        await self.app(scope, _Counted(receive, limit, self._stall_s), send)

    def _limit_of(self, path: str) -> int:
        return next((limit for pattern, limit in self._limits if pattern.fullmatch(path)), self._default_bytes)


class _Counted:
    """The body of one request; a chunk that goes over the limit is an error for whoever reads it."""

    def __init__(self, receive: Receive, limit_bytes: int, stall_s: float) -> None:
        self._receive, self._limit_bytes, self._stall_s = receive, limit_bytes, stall_s
        self._seen_bytes = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        if self._is_whole:  # all that can come is that the client goes, at any time
            return await self._receive()
        try:
            async with asyncio.timeout(self._stall_s):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, f"No more of the request body came for {self._stall_s:g} s.") from None
        self._is_whole = not message.get("more_body", False)
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
