"""`python -m services.model_server`"""

import uvicorn

from libs.web.logs import configure_logs
from services.model_server.app import make_app
from services.model_server.settings import model_server_settings


def main() -> None:
    """Serve until SIGTERM; open requests have `drain_s` to end."""
    settings = model_server_settings()
    configure_logs("model_server")
    uvicorn.run(
        make_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(settings.drain_s) or 1,
    )


if __name__ == "__main__":
    main()
