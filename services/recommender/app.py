"""The recommender: the next items for users and sessions, over ONNX Runtime. No torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import anyio.to_thread
from fastapi import Depends, FastAPI, Request

from libs.serving.deployments.health import health_router
from libs.serving.deployments.runtime import Runtime
from libs.serving.deployments.sync import Kind
from libs.serving.recommendation.model import load
from libs.web import api_docs, problems
from libs.web.application import Lifespan, bare_application
from libs.web.body_limit import BodyLimit
from libs.web.head import HeadAsGet
from libs.web.metrics import HttpMetrics
from libs.web.middleware import RequestContext
from services.recommender.admission import admit
from services.recommender.context import Recommender, arms_counter, shed_counter
from services.recommender.memory import open_memory
from services.recommender.memory_routes import ROUTERS
from services.recommender.problems import PROBLEMS
from services.recommender.recommendations import routes
from services.recommender.recommendations.together import gathering
from services.recommender.settings import RecommenderSettings, recommender_settings

KIND = Kind("recommender", "next-item", load)


def make_app(settings: RecommenderSettings | None = None) -> FastAPI:
    """The application; its lifespan follows the deployments and opens what is remembered of users."""
    settings = settings or recommender_settings()
    metrics = HttpMetrics("recommender")
    app = bare_application("Octavo recommender", _lifespan(settings, metrics))
    app.state.metrics = metrics
    problems.install(app, PROBLEMS)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit, default_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContext, metrics=metrics)
    app.include_router(health_router(metrics, _is_ready))
    for router in (routes.router, *ROUTERS):
        app.include_router(router, dependencies=[Depends(admit)])
    api_docs.install(app)
    api_docs.lead_to_docs(app)
    return app


def _lifespan(settings: RecommenderSettings, metrics: HttpMetrics) -> Lifespan:
    arms, shed = arms_counter(metrics.registry), shed_counter(metrics.registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = settings.pool_size
        runtime = Runtime(settings, KIND, metrics.registry)
        with closing(runtime), open_memory(runtime.engine, settings.memory, metrics.registry) as memory:
            app.state.keys, app.state.memory = runtime.keys, memory
            app.state.recommender = Recommender(settings, runtime, memory, arms, shed)
            app.state.together = gathering()
            runtime.start()
            yield

    return lifespan


def _is_ready(request: Request) -> bool:
    recommender: Recommender = request.app.state.recommender
    return recommender.runtime.is_ready
