"""`python -m services.worker`: run a worker until SIGTERM, which makes its jobs checkpoint and hands them back."""

from services.worker.logs import configure_logs
from services.worker.settings import worker_settings
from services.worker.worker import Worker

if __name__ == "__main__":
    configure_logs("worker")
    Worker(worker_settings()).run()
