"""The bare application that every service over HTTP begins with."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version

from fastapi import FastAPI

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def bare_application(title: str, lifespan: Lifespan, description: str = "") -> FastAPI:
    """An application that has nothing yet.

    Without FastAPI's own pages, whose files come from elsewhere: `libs.web.api_docs` has others. A slash too many is no
    redirect but a wrong address, which is told the right one (`libs.web.addresses`).
    """
    return FastAPI(
        title=title,
        version=version("octavo"),
        description=description,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
