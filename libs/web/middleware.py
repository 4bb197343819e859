"""What happens to every request of a service: its id, its access log line, its metrics, its last-resort error."""

from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.origin import Origin, current_origin, set_origin
from libs.tracing import is_traced, span, valid_traceparent
from libs.web import timing
from libs.web.access_notes import begin_notes
from libs.web.metrics import HttpMetrics, known_method
from libs.web.problems import problem_response
from libs.web.request_id import HEADER, request_id_of

log = structlog.get_logger("octavo.access")
_QUIET_ROUTES = frozenset({"/livez", "/readyz", "/metrics"})
_TRACEPARENT = b"traceparent"
_LONGEST_PATH = 500
"""Characters of an address that a log line repeats."""


class RequestContext:
    """ASGI middleware, the outermost one.

    Takes `X-Request-ID` or makes one, binds it to the logs, returns it; adds `Server-Timing`; counts and logs the
    request; answers what nobody caught with a bare 500 problem and logs its traceback.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Exchange(self.app, self.metrics, scope, send).run(receive)


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, scope: Scope, send: Send) -> None:
        self.app, self.metrics, self.scope, self._send = app, metrics, scope, send
        self.started = perf_counter()
        self.status = 0
        self.first_byte_s = 0.0
        self.request_id = request_id_of(dict(scope["headers"]).get(HEADER))
        self.spans = timing.begin_timing()
        self.notes = begin_notes()

    async def run(self, receive: Receive) -> None:
        if not is_traced() or self.scope["path"] in _QUIET_ROUTES:
            set_origin(Origin(self.request_id))
            await self._answer(receive)
            return
        offered = dict(self.scope["headers"]).get(_TRACEPARENT, b"").decode("latin-1")
        set_origin(Origin(self.request_id, valid_traceparent(offered)))
        method = known_method(self.scope["method"])
        with span(method, "server", http_request_method=method, octavo_request_id=self.request_id) as made:
            await self._answer(receive)
            made.rename(f"{method} {self.route}")
            made.set("http.route", self.route)
            made.set("http.response.status_code", self.status)
            for name, value in self.notes.items():
                made.set(f"octavo.{name.replace('_', '.')}", value)
            if self.status >= 500:
                made.fail(f"answered {self.status}")

    async def _answer(self, receive: Receive) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**current_origin().log_fields)
        with self.metrics.in_flight.track_inprogress():
            try:
                await self.app(self.scope, receive, self.send)
            except Exception:
                await self._answer_unexpected(receive)
            finally:
                self._record()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.first_byte_s = perf_counter() - self.started
            server_timing = timing.header_value(self.spans, self.first_byte_s)
            headers = [(HEADER, self.request_id.encode()), (b"server-timing", server_timing.encode())]
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
        await self._send(message)

    async def _answer_unexpected(self, receive: Receive) -> None:
        log.exception("unexpected error", path=self.scope["path"][:_LONGEST_PATH])
        if self.status:  # the answer has begun: all that is left is to cut it off, which the server does on return
            return
        detail = "An unexpected error happened; the service's log has it under this request id."
        await problem_response(500, "internal_error", detail)(self.scope, receive, self.send)

    @property
    def route(self) -> str:
        """The template of the route that answers."""
        return getattr(self.scope.get("route"), "path", "unmatched")

    def _record(self) -> None:
        route = self.route
        method, total_s = self.scope["method"], perf_counter() - self.started
        self.metrics.observe(method, route, self.status, self.first_byte_s)
        if route in _QUIET_ROUTES and self.status < 400:
            return
        log.info(
            "request",
            method=method,
            path=self.scope["path"][:_LONGEST_PATH],
            route=route,
            status=self.status,
            duration_ms=round(total_s * 1e3, 2),
            **self.notes,
        )
