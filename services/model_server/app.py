"""The model server: v2 protocol and picture classification over ONNX Runtime. No torch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI, Request

from libs.serving.classifier import load
from libs.serving.deployments.health import health_router
from libs.serving.deployments.problems import PROBLEMS
from libs.serving.deployments.runtime import Runtime
from libs.serving.deployments.sync import Kind
from libs.web import api_docs, problems
from libs.web.application import Lifespan, bare_application
from libs.web.head import HeadAsGet
from libs.web.metrics import HttpMetrics
from libs.web.middleware import RequestContext
from services.model_server import classify, repository_routes, v2
from services.model_server.context import Server
from services.model_server.settings import ModelServerSettings, model_server_settings
from services.model_server.v2_errors import add_error_member

KIND = Kind("model-server", "image-classification", load)


def make_app(settings: ModelServerSettings | None = None) -> FastAPI:
    """The application; its lifespan starts and stops the syncer."""
    settings = settings or model_server_settings()
    metrics = HttpMetrics("model_server")
    app = bare_application("Octavo model server", _lifespan(settings, metrics))
    app.state.metrics = metrics
    problems.install(app, PROBLEMS)
    add_error_member(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestContext, metrics=metrics)
    for router in (health_router(metrics, _is_ready), classify.router, v2.router, repository_routes.router):
        app.include_router(router)
    api_docs.install(app)
    api_docs.lead_to_docs(app)
    return app


def _lifespan(settings: ModelServerSettings, metrics: HttpMetrics) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runtime = Runtime(settings, KIND, metrics.registry)
        app.state.keys = runtime.keys
        app.state.server = Server(settings, runtime, anyio.CapacityLimiter(settings.decoders))
        runtime.start()
        yield
        await anyio.to_thread.run_sync(runtime.close)

    return lifespan


def _is_ready(request: Request) -> bool:
    server: Server = request.app.state.server
    return server.runtime.is_ready
