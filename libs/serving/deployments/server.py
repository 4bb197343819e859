"""The process of an inference service."""

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from libs.serving.deployments.settings import ServingSettings
from libs.web.logs import configure_logs
from libs.web.memory import keep_what_is_loaded


def serve(service: str, make_app: Callable[[], FastAPI], settings: ServingSettings) -> None:
    """Serve until SIGTERM; open requests have `drain_s` to end.

    Args:
        service: what its log lines call it.
    """
    configure_logs(service)
    app = make_app()
    keep_what_is_loaded()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(settings.drain_s) or 1,
    )
