"""`python -m services.worker`: run a worker until SIGTERM, which makes its jobs checkpoint and hands them back."""

import logging
from contextlib import ExitStack

from libs.logs import configure_logs
from libs.metrics_port import metrics_port
from libs.starting import check_database, check_store, starting
from libs.tracing import tracing
from services.worker.settings import worker_settings
from services.worker.worker import Worker


def main() -> None:
    """Run a worker with the settings of the environment."""
    configure_logs("worker", others=logging.WARNING)
    with ExitStack() as opened:
        with starting("worker"):
            settings = worker_settings()
            check_database(settings)
            check_store(settings)
            worker = Worker(settings)
            opened.enter_context(metrics_port(settings, worker.registry))
            opened.enter_context(tracing("worker"))
        worker.run()


if __name__ == "__main__":
    main()
