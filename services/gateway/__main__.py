"""One gateway process: `python -m services.gateway`, settings from `OCTAVO_*` and `OCTAVO_GATEWAY_*`."""

from contextlib import ExitStack
from types import FrameType

import uvicorn

from libs.logs import configure_logs
from libs.starting import check_database_if_there, check_store, leave_when_told, starting
from libs.tracing import tracing
from libs.web.memory import keep_what_is_loaded
from libs.web.wakeups import Wakeups
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings, gateway_settings


class _Server(uvicorn.Server):
    """Ends event streams as soon as it is told to stop; clients go on elsewhere by `Last-Event-ID`."""

    def __init__(self, config: uvicorn.Config, wakeups: Wakeups) -> None:
        super().__init__(config)
        self._wakeups = wakeups

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._wakeups.close()


def main() -> None:
    """Serve until SIGTERM or SIGINT; open requests have `drain_s` to end."""
    configure_logs("gateway")
    leave_when_told()
    with ExitStack() as opened:
        with starting("gateway"):
            settings = gateway_settings()
            check_database_if_there(settings.platform)  # without it, it says what is missing
            check_store(settings.platform)
            opened.enter_context(tracing("gateway"))
        _serve(settings)


def _serve(settings: GatewaySettings) -> None:
    app = create_app(settings)
    keep_what_is_loaded()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=round(settings.drain_s),
    )
    _Server(config, app.state.wakeups).run()


if __name__ == "__main__":
    main()
