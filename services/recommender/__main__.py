"""`python -m services.recommender`"""

import uvicorn

from libs.web.logs import configure_logs
from services.recommender.app import make_app
from services.recommender.settings import recommender_settings


def main() -> None:
    """Serve until SIGTERM; open requests have `drain_s` to end."""
    settings = recommender_settings()
    configure_logs("recommender")
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
