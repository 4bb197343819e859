"""HEAD for every address that takes GET: the same status and headers, no body."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.web.addresses import methods_at


class _HeadersSent(Exception):
    """The answer to HEAD is complete; what would go on producing its body stops."""


class HeadAsGet:
    """ASGI middleware. An address that declares HEAD itself answers itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not _takes_get_alone(scope["app"], scope["path"]):
            await self.app(scope, receive, send)
            return
        scope["method"] = "GET"  # in place: the middleware outside reads the matched route from this scope
        try:
            await self.app(scope, receive, _without_body(send))
        except _HeadersSent:
            pass
        finally:
            scope["method"] = "HEAD"


def _takes_get_alone(app: Any, path: str) -> bool:
    methods = methods_at(app, path)
    return "GET" in methods and "HEAD" not in methods


def _without_body(send: Send) -> Send:
    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            raise _HeadersSent
        await send(message)

    return send_headers
