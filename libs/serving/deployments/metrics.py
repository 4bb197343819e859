"""What each deployment was asked, for Prometheus: requests, their times, the batches they were computed in."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Histogram

from libs.serving.errors import DeadlineExceeded, Overloaded, RequestError
from libs.web.problems import ProblemError

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_LABELS = ("project", "deployment")


class DeploymentMetrics:
    """Labels are deployments that exist or existed, never names that were only asked for: their number is bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "octavo_deployment_requests",
            "Requests that a deployment took; `outcome` is ok, refused (the request is at fault), overloaded or error.",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "octavo_deployment_seconds",
            "From the body of a request to its answer, waiting and computing.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Histogram(
            "octavo_deployment_batch_rows",
            "Rows, or histories of users, that were computed together.",
            _LABELS,
            buckets=_ROWS,
            registry=registry,
        )

    @contextmanager
    def requests(self, project_id: UUID, name: str, count: int = 1) -> Iterator[None]:
        """Count and time requests that a deployment answers together; the block raises when they failed."""
        project, started, outcome = str(project_id), perf_counter(), "ok"
        try:
            yield
        except Exception as error:
            outcome = _outcome(error)
            raise
        finally:
            self._requests.labels(project, name, outcome).inc(count)
            self._seconds.labels(project, name).observe(perf_counter() - started)

    def batch(self, project_id: UUID, name: str, rows: int) -> None:
        """Note the rows of a request's batch."""
        self._rows.labels(str(project_id), name).observe(rows)


def _outcome(error: Exception) -> str:
    if isinstance(error, Overloaded | DeadlineExceeded):
        return "overloaded"
    at_fault = isinstance(error, RequestError) or (isinstance(error, ProblemError) and error.status < 500)
    return "refused" if at_fault else "error"
