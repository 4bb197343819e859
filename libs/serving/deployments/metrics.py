"""What each deployment was asked, for Prometheus: requests, their times, the batches they were computed in."""

from collections import Counter as TotalOf
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.serving.errors import DeadlineExceeded, Overloaded, RequestError
from libs.serving.watching import Watched
from libs.web.problems import ProblemError

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_LABELS = ("project", "deployment")
_OUTCOMES = ("ok", "refused", "overloaded", "error")


@dataclass(slots=True)
class Tally:
    """How requests that are answered together end: well, but for those it is told of.

    Attributes:
        requests: how many there are.
        asked_again: those that fail are asked again, each alone, and are counted then.
    """

    requests: int = 1
    asked_again: bool = False
    _failed: TotalOf[str] = field(default_factory=TotalOf)

    def failed(self, error: Exception) -> None:
        """One of them is not answered."""
        self._failed[_outcome(error)] += 1

    def all_failed(self, error: Exception) -> None:
        """None of them is answered."""
        self._failed = TotalOf({_outcome(error): self.requests})

    @property
    def outcomes(self) -> dict[str, int]:
        """How many came to each end that is to be counted."""
        counted = {"ok": self.requests - self._failed.total(), **({} if self.asked_again else self._failed)}
        return {outcome: count for outcome, count in counted.items() if count}

    @property
    def counted(self) -> int:
        """Requests that are to be counted, however they ended."""
        return sum(self.outcomes.values())


class DeploymentMetrics:
    """Labels are deployments that are loaded, never names that were only asked for: their number is bounded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._followed: set[tuple[UUID, str]] = set()
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
        self._waited = Histogram(
            "octavo_deployment_queue_seconds",
            "How long each request waited for its batch.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._computed = Histogram(
            "octavo_deployment_compute_seconds",
            "How long each batch was computed.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Gauge(
            "octavo_deployment_waiting_rows", "Rows that wait now, of what is loaded.", _LABELS, registry=registry
        )

    @contextmanager
    def requests(self, project_id: UUID, name: str, tally: Tally | None = None) -> Iterator[None]:
        """Count and time requests that a deployment answers together; the block raises when all of them failed.

        Args:
            tally: how many they are and which of them failed; None: there is one.
        """
        project, started, tally = str(project_id), perf_counter(), tally or Tally()
        try:
            yield
        except Exception as error:
            tally.all_failed(error)
            raise
        finally:
            # The last requests of one that is gone begin no figures anew.
            if (project_id, name) in self._followed and tally.counted:
                for outcome, count in tally.outcomes.items():
                    self._requests.labels(project, name, outcome).inc(count)
                self._seconds.labels(project, name).observe(perf_counter() - started)

    def batch(self, project_id: UUID, name: str, rows: int, waited_s: Sequence[float], compute_s: float) -> None:
        """Note a batch; see `libs.serving.watching.BatchWatch`."""
        if (project_id, name) not in self._followed:
            return
        project = str(project_id)
        self._rows.labels(project, name).observe(rows)
        self._computed.labels(project, name).observe(compute_s)
        waited = self._waited.labels(project, name)
        for one_s in waited_s:
            waited.observe(one_s)

    def follow(self, project_id: UUID, name: str, queue: Watched) -> None:
        """From now on the requests of a deployment wait in `queue`."""
        self._followed.add((project_id, name))
        for outcome in _OUTCOMES:  # a counter that appears with its first count has not increased, for Prometheus
            self._requests.labels(str(project_id), name, outcome)
        queue.watch(partial(self.batch, project_id, name))
        self._waiting.labels(str(project_id), name).set_function(lambda: queue.waiting_rows)

    def forget(self, project_id: UUID, name: str) -> None:
        """The deployment is gone, and its figures with it: what is shown grows with what there is, not with time."""
        self._followed.discard((project_id, name))
        for metric in (self._requests, self._seconds, self._rows, self._waited, self._computed, self._waiting):
            metric.remove_by_labels({"project": str(project_id), "deployment": name})


def _outcome(error: Exception) -> str:
    if isinstance(error, Overloaded | DeadlineExceeded):
        return "overloaded"
    at_fault = isinstance(error, RequestError) or (isinstance(error, ProblemError) and error.status < 500)
    return "refused" if at_fault else "error"
