"""How a request to a deployment ended, as Prometheus is told."""

from contextlib import nullcontext
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from libs.serving.deployments.metrics import DeploymentMetrics, Tally
from libs.serving.errors import DeadlineExceeded, InputProblem, Overloaded, RequestError, ServingError
from libs.serving.watching import BatchWatch
from libs.web.problems import NotFoundError, UnavailableError


class Queue:
    """Where requests wait."""

    waiting_rows = 5

    def watch(self, watch: BatchWatch) -> None:
        self.watched_by = watch


def ended(error: Exception | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (Overloaded(3, 1.0), "overloaded"),
        (DeadlineExceeded("late"), "overloaded"),
        (RequestError(InputProblem("/k", "wrong")), "refused"),
        (NotFoundError("nothing"), "refused"),
        (UnavailableError("away"), "error"),
        (ServingError("broken"), "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_outcome_is_told_by_its_error(error: Exception | None, outcome: str) -> None:
    registry, project = CollectorRegistry(), UUID(int=1)
    metrics = DeploymentMetrics(registry)
    metrics.follow(project, "films", Queue())
    with pytest.raises(type(error)) if error else nullcontext(), metrics.requests(project, "films", Tally(3)):
        ended(error)
    labels = {"project": str(project), "deployment": "films"}
    assert registry.get_sample_value("octavo_deployment_requests_total", {**labels, "outcome": outcome}) == 3
    assert registry.get_sample_value("octavo_deployment_seconds_count", labels) == 1


@pytest.mark.parametrize(
    ("asked_again", "counted"), [(False, [2, 1, 1, 0]), (True, [2, 0, 0, 0])], ids=["once", "asked again alone"]
)
def test_each_of_several_requests_is_counted_by_its_own_end(asked_again: bool, counted: list[int]) -> None:
    registry, project = CollectorRegistry(), UUID(int=1)
    metrics, tally = DeploymentMetrics(registry), Tally(4, asked_again)
    metrics.follow(project, "films", Queue())
    with metrics.requests(project, "films", tally):
        tally.failed(RequestError(InputProblem("/k", "wrong")))
        tally.failed(DeadlineExceeded("late"))
    labels = {"project": str(project), "deployment": "films"}
    assert counted == [
        registry.get_sample_value("octavo_deployment_requests_total", {**labels, "outcome": outcome})
        for outcome in ("ok", "refused", "overloaded", "error")
    ]
    with pytest.raises(ServingError), metrics.requests(project, "films", Tally(2, asked_again=True)):
        raise ServingError("broken")
    assert registry.get_sample_value("octavo_deployment_seconds_count", labels) == 1


def test_a_deployment_shows_its_queue_and_batches_and_nothing_once_it_is_gone() -> None:
    registry, project, queue = CollectorRegistry(), UUID(int=1), Queue()
    metrics = DeploymentMetrics(registry)
    metrics.follow(project, "films", queue)
    with metrics.requests(project, "films"):
        queue.watched_by(3, [0.01, 0.02], 0.5)
    labels = {"project": str(project), "deployment": "films"}
    shown = {
        name: registry.get_sample_value(f"octavo_deployment_{name}", labels)
        for name in ("waiting_rows", "batch_rows_sum", "queue_seconds_count", "compute_seconds_sum", "seconds_count")
    }
    assert list(shown.values()) == [5, 3, 2, 0.5, 1]
    with metrics.requests(project, "films"):
        metrics.forget(project, "films")
        queue.watched_by(1, [0.0], 0.1)
    assert [sample for metric in registry.collect() for sample in metric.samples] == []
