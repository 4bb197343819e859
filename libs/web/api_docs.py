"""`/docs`: Swagger UI from this process alone, so that it works on closed networks and under a strict CSP."""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from libs.web.auth import Public

_OURS = Path(__file__).parent / "static"


def install(app: FastAPI) -> None:
    """Add the page and its files to an application made by `libs.web.application`."""

    @app.get("/docs", include_in_schema=False, dependencies=[Public])
    async def page() -> FileResponse:
        """The API, to read and to try."""
        return FileResponse(_OURS / "api_docs.html", media_type="text/html")

    files = StaticFiles(directory=_OURS, packages=[("fastapi_offline", "static")])
    app.mount("/docs/static", files, name="docs-static")


def lead_to_docs(app: FastAPI) -> None:
    """Make the root of a service that has no pages of its own lead to the documentation."""

    @app.get("/", include_in_schema=False, dependencies=[Public])
    async def root() -> RedirectResponse:
        """The documentation is what there is to see."""
        return RedirectResponse("/docs")
