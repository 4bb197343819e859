"""/livez /readyz /metrics /version"""

from fastapi import Request
from starlette.responses import Response

from libs.web.auth import Public
from libs.web.metrics import HttpMetrics
from libs.web.problems import problem_responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.health import service
from services.gateway.health.schemas import Live, Ready, Version

router = Router(tags=["health"], dependencies=[Public])


@router.get("/livez")
async def live() -> Live:
    """Whether the process answers. It says nothing of the database: a restart would not bring that back."""
    return Live()


@router.get("/readyz", responses=problem_responses(503))
def ready(gateway: Gw) -> Ready:
    """Whether requests can be served: the database answers and has the schema this code wants."""
    return service.readiness(gateway.engine)


@router.get("/version")
def version() -> Version:
    """What is running."""
    return service.about()


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counts and times of requests, for Prometheus."""
    http_metrics: HttpMetrics = request.app.state.metrics
    return http_metrics.render()
