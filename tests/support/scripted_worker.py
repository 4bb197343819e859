"""`services.worker` whose children are scripted ones."""

import sys
from collections.abc import Sequence
from pathlib import Path

from libs.logs import configure_logs
from libs.metrics_port import metrics_port
from libs.tracing import tracing
from services.worker.launch import python_child
from services.worker.settings import worker_settings
from services.worker.worker import Worker


def scripted_child(folder: Path, processes: int) -> Sequence[str]:
    """The product's command with another module at its end."""
    command = list(python_child(folder, processes))
    command[command.index("services.worker.child")] = "tests.support.scripted_child"
    return command


if __name__ == "__main__":
    configure_logs(sys.argv[1] if len(sys.argv) > 1 else "worker")
    settings = worker_settings()
    worker = Worker(settings, launcher=scripted_child)
    with metrics_port(settings, worker.registry), tracing("worker"):
        worker.run()
