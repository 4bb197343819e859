"""Templates, the addresses of static files, and the headers of every page."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from libs.web.request_id import current_request_id
from services.gateway.dashboard import formats
from services.gateway.dashboard.schema_fields import about

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""No script, style or font but this process's own files; nothing written into the page itself."""

HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NAVIGATION = (
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/schedules", "Schedules"),
    ("/datasets", "Data sets"),
    ("/models", "Models"),
    ("/deployments", "Deployments"),
    ("/try", "Try it"),
    ("/feedback", "Feedback"),
    ("/workers", "Workers"),
    ("/keys", "Keys"),
    ("/docs", "API docs"),
)
_SECTIONS = {"/new-dataset": "/datasets", "/new-schedule": "/schedules"}
"""Pages that belong to another one of the navigation than their address says: names of data sets may be any word."""


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers may keep it for good."""
    digest = hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


class Assets(StaticFiles):
    """The static files, kept by browsers when they were asked for by `asset`'s address."""

    def __init__(self) -> None:
        super().__init__(directory=_STATIC)

    async def get_response(self, path: str, scope: Any) -> Response:
        """A file, with how long it may be kept."""
        answer = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=")
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if versioned else "no-cache"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {**formats.FILTERS, "about": about}
    made.globals |= {"asset": asset, "lasted": formats.lasted, "navigation": NAVIGATION}
    return made


_templates = _environment()


@cache
def compile_all() -> None:
    """Compile every template, once a process: else the first visitor of each page would wait for it."""
    for name in _templates.list_templates():
        _templates.get_template(name)


def render(request: Request, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:
    """A page or a part of one. Templates always have `visitor` (None before the login) and `section`."""
    given = {
        "visitor": getattr(request.state, "visitor", None),
        "section": _SECTIONS.get(request.url.path, request.url.path),
        "request_id": current_request_id(),
    }
    text = _templates.get_template(template).render({**given, **context})
    return HTMLResponse(text, status_code, headers=HEADERS)
