"""Which addresses an application has, and which methods each of them takes."""

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import Match, Route


@cache
def routes_of(app: Any) -> tuple[Route, ...]:
    """Every route of an application, those of its routers included."""
    found = (context.original_route for context in iter_route_contexts(app.routes))
    return tuple(route for route in found if isinstance(route, Route))


def _at(app: Any, path: str) -> Iterator[Route]:
    scope = {"type": "http", "method": "OPTIONS", "path": path, "root_path": ""}
    return (route for route in routes_of(app) if route.matches(scope)[0] is not Match.NONE)


def methods_at(app: Any, path: str) -> set[str]:
    """The methods that an address takes as its routes declare them, none when there is no such address."""
    return {method for route in _at(app, path) for method in route.methods or ()}


def nearest_address(app: Any, path: str) -> str | None:
    """The address that was probably meant, as a template: nothing of what was sent is in it."""
    without_slash = path.rstrip("/")
    exact = next((route.path for route in _at(app, without_slash)), None)
    if exact is not None:
        return exact
    near = difflib.get_close_matches(without_slash, {route.path for route in routes_of(app)}, n=1, cutoff=0.75)
    return near[0] if near else None
