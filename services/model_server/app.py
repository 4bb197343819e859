"""The model server: v2 protocol and picture classification over ONNX Runtime. No torch."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

import anyio
from fastapi import FastAPI
from starlette.responses import Response

from libs.database.engine import make_engine
from libs.registry.artifacts import ArtifactStore
from libs.registry.cache import FolderCache
from libs.serving.repository import ModelRepository
from libs.web import api_docs, problems
from libs.web.auth import Public
from libs.web.head import HeadAsGet
from libs.web.metrics import HttpMetrics
from libs.web.middleware import RequestContext
from libs.web.routing import Router
from services.model_server import classify, repository_routes, v2
from services.model_server.context import Server
from services.model_server.errors import PROBLEMS
from services.model_server.keys import CachedKeys
from services.model_server.settings import ModelServerSettings, model_server_settings
from services.model_server.snapshot import SnapshotFile
from services.model_server.sync import Syncer
from services.model_server.v2_errors import add_error_member


def make_app(settings: ModelServerSettings | None = None) -> FastAPI:
    """The application; its lifespan starts and stops the syncer."""
    settings = settings or model_server_settings()
    metrics = HttpMetrics("model_server")
    app = FastAPI(
        title="Octavo model server",
        version=version("octavo"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(settings),
    )
    app.state.metrics = metrics
    problems.install(app, PROBLEMS)
    add_error_member(app)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestContext, metrics=metrics)
    for router in (_health(metrics), classify.router, v2.router, repository_routes.router):
        app.include_router(router)
    api_docs.install(app)
    return app


def _lifespan(settings: ModelServerSettings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        platform = settings.platform
        engine = make_engine(
            platform.database_url.get_secret_value(), application="octavo-model-server", pool_size=2, max_overflow=4
        )
        cache = FolderCache(settings.cache_folder, ArtifactStore(platform.artifact_root), settings.cache_limit_bytes)
        models, keys = ModelRepository(), CachedKeys(engine)
        snapshot = SnapshotFile(settings.snapshot_file)
        syncer = Syncer(engine, cache, models, keys, snapshot, poll_s=settings.poll_s, retry_s=settings.retry_s)
        app.state.keys = keys
        app.state.server = Server(settings, engine, models, syncer, anyio.CapacityLimiter(settings.decoders))
        syncer.start()
        yield
        await anyio.to_thread.run_sync(syncer.stop)
        engine.dispose()

    return lifespan


def _health(metrics: HttpMetrics) -> Router:
    router = Router(tags=["health"], dependencies=[Public])

    @router.get("/livez")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @router.get("/metrics", response_class=Response)
    async def scrape() -> Response:
        """Counts and times of requests, for Prometheus."""
        return metrics.render()

    return router
