"""How a request to a deployment ended, as Prometheus is told."""

from contextlib import nullcontext
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from libs.serving.deployments.metrics import DeploymentMetrics
from libs.serving.errors import DeadlineExceeded, InputProblem, Overloaded, RequestError, ServingError
from libs.web.problems import NotFoundError, UnavailableError


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
    with pytest.raises(type(error)) if error else nullcontext(), metrics.requests(project, "films", 3):
        ended(error)
    labels = {"project": str(project), "deployment": "films"}
    assert registry.get_sample_value("octavo_deployment_requests_total", {**labels, "outcome": outcome}) == 3
    assert registry.get_sample_value("octavo_deployment_seconds_count", labels) == 1
