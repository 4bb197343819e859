"""The gateway application: every noun's routes, and what the process holds while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread
import httpx2
from fastapi import FastAPI

from libs.database.engine import make_engine
from libs.database.triggers import EVENTS_CHANNEL
from libs.jobs.counts import show_counts
from libs.registry.artifacts import ArtifactStore
from libs.web import api_docs, problems
from libs.web.application import bare_application
from libs.web.body_limit import BodyLimit
from libs.web.head import HeadAsGet
from libs.web.metrics import HttpMetrics
from libs.web.middleware import RequestContext
from libs.web.wakeups import PostgresListener, Wakeups
from services.gateway.context import Gateway
from services.gateway.dashboard import app as dashboard
from services.gateway.datasets.routes import router as datasets_router
from services.gateway.datasets.upload_routes import router as uploads_router
from services.gateway.deployments.routes import router as deployments_router
from services.gateway.errors import PROBLEMS
from services.gateway.health.routes import router as health_router
from services.gateway.inference.proxy import Upstream
from services.gateway.inference.recommendation_routes import router as recommendation_router
from services.gateway.inference.routes import router as inference_router
from services.gateway.job_groups.routes import router as job_groups_router
from services.gateway.jobs.output_routes import router as job_output_router
from services.gateway.jobs.routes import router as jobs_router
from services.gateway.keys.repository import PostgresKeys
from services.gateway.keys.routes import router as keys_router
from services.gateway.methods.routes import router as methods_router
from services.gateway.models.alias_routes import router as aliases_router
from services.gateway.models.routes import router as models_router
from services.gateway.openapi import DESCRIPTION, install_openapi
from services.gateway.schedules.routes import router as schedules_router
from services.gateway.settings import GatewaySettings
from services.gateway.storage.routes import router as storage_router
from services.gateway.uploads.routes import router as model_files_router

_ROUTERS = (
    methods_router,
    jobs_router,
    job_output_router,
    job_groups_router,
    schedules_router,
    datasets_router,
    uploads_router,
    models_router,
    aliases_router,
    model_files_router,
    deployments_router,
    inference_router,
    recommendation_router,
    keys_router,
    storage_router,
    health_router,
)


def create_app(settings: GatewaySettings | None = None) -> FastAPI:
    """Build the application; connections are opened when it starts, so building it needs no database."""
    settings = settings or GatewaySettings()
    app = bare_application("Octavo", _lifespan, DESCRIPTION)
    app.state.settings = settings
    app.state.metrics = HttpMetrics("gateway")
    show_counts(app.state.metrics.registry)
    app.state.wakeups = Wakeups()
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        BodyLimit,
        default_bytes=settings.max_body_bytes,
        limits=_body_limits(settings),
        stall_s=settings.body_stall_s,
    )
    app.add_middleware(RequestContext, metrics=app.state.metrics)
    problems.install(app, PROBLEMS)
    for router in _ROUTERS:
        app.include_router(router)
    api_docs.install(app)
    dashboard.install(app)
    install_openapi(app)
    return app


def _body_limits(settings: GatewaySettings) -> list[tuple[str, int]]:
    """Paths whose bodies are not small JSON."""
    return [
        (r"(/v1)?/datasets/[^/]+/versions/[^/]+/upload", settings.max_chunk_bytes),
        (r"/v1/uploads", settings.max_import_bytes),
        (r"/v2/.*|/v1/classify/.*|/try/classify/.*", settings.max_inference_bytes),
        (r"/v1/(events|recommendations(/batch)?|score)", settings.max_events_bytes),
    ]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: GatewaySettings = app.state.settings
    platform = settings.platform
    database_url = platform.database_url.get_secret_value()
    engine = make_engine(database_url, application="octavo-gateway", pool_size=settings.pool_size, max_overflow=0)
    # As many threads as connections: a request may wait for a thread, and then never for a connection.
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.pool_size
    model_server, recommender = (
        Upstream(name, httpx2.AsyncClient(base_url=url, timeout=settings.inference_timeout_s))
        for name, url in (("model server", settings.model_server_url), ("recommender", settings.recommender_url))
    )
    dashboard.compile_all()
    app.state.keys = PostgresKeys(engine)
    app.state.gateway = Gateway(
        settings=settings,
        engine=engine,
        store=ArtifactStore(platform.artifact_root),
        wakeups=app.state.wakeups,
        model_server=model_server,
        recommender=recommender,
        keys=app.state.keys,
    )
    listening = asyncio.create_task(PostgresListener(database_url, EVENTS_CHANNEL, app.state.wakeups).run())
    try:
        yield
    finally:
        app.state.wakeups.close()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await model_server.client.aclose()
        await recommender.client.aclose()
        engine.dispose()
