"""Signs of life of an inference service."""

from collections.abc import Callable

from fastapi import Request
from starlette.responses import JSONResponse, Response

from libs.web.auth import Public
from libs.web.metrics import HttpMetrics
from libs.web.problems import problem_responses
from libs.web.routing import Router


def health_router(metrics: HttpMetrics, is_ready: Callable[[Request], bool]) -> Router:
    """/livez, /readyz and /metrics; `is_ready` looks at the running application."""
    router = Router(tags=["health"], dependencies=[Public])

    @router.get("/livez")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @router.get("/readyz", responses=problem_responses(503))
    async def ready(request: Request) -> JSONResponse:
        """Whether every deployment known at the start has been tried."""
        found = is_ready(request)
        return JSONResponse({"status": "ready" if found else "loading"}, 200 if found else 503)

    @router.get("/metrics", response_class=Response)
    async def scrape() -> Response:
        """Counts and times of requests, for Prometheus."""
        return metrics.render()

    return router
