"""The process of an inference service."""

from collections.abc import Callable
from contextlib import ExitStack

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits

from libs.logs import configure_logs
from libs.serving.deployments.settings import ServingSettings
from libs.starting import check_database_if_there, leave_when_told, starting
from libs.tracing import tracing
from libs.web.memory import keep_what_is_loaded


def serve(service: str, make_app: Callable[[], FastAPI], read_settings: Callable[[], ServingSettings]) -> None:
    """Serve until SIGTERM; open requests have `drain_s` to end.

    Args:
        service: what its log lines call it.
        read_settings: the settings of the environment; a wrong one ends the process in one line.
    """
    configure_logs(service)
    leave_when_told()
    with ExitStack() as opened:
        with starting(service):
            settings = read_settings()
            check_database_if_there(settings.platform)  # without it the snapshot and the cache are served
            opened.enter_context(tracing(service))
        app = make_app()
        # A product with a table is bound by memory: further threads of BLAS only spin, at three times the CPU time.
        opened.enter_context(threadpool_limits(1, "blas"))
        keep_what_is_loaded()
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.drain_s) or 1,
        )
