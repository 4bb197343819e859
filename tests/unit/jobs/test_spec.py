"""What is refused when a job is accepted, and which queue takes it."""

import pytest
from pydantic import ValidationError

from libs.jobs.spec import parse_spec
from libs.jobs.tasks import TASKS


@pytest.mark.parametrize("method", ["frskd", "supervised"])
@pytest.mark.parametrize("name", ["resnet9000", "no-such-model@3"])
def test_a_network_that_cannot_exist_is_refused_at_its_field(method: str, name: str):
    with pytest.raises(ValidationError, match="There is no classifier") as caught:
        parse_spec({"method": method, "config": {"model": name}})
    assert [error["loc"] for error in caught.value.errors()] == [("config", "model")]


TASK_CONFIGS = {"estimate": {"of": "frskd"}}


@pytest.mark.parametrize("method", ["validate-dataset", "estimate", "evaluate", "predict"])
def test_the_platforms_own_tasks_do_not_queue_behind_trainings(method: str):
    body = {"method": method, "config": TASK_CONFIGS.get(method, {})}
    assert method in TASKS
    assert parse_spec(body).queue == "short"
    assert parse_spec(body | {"resources": {"device": "cpu"}}).queue == "short"
    assert parse_spec(body | {"resources": {"device": "cuda"}}).queue == "gpu"
    assert parse_spec(body | {"resources": {"queue": "cpu"}}).queue == "cpu"


@pytest.mark.parametrize(("device", "queue"), [("auto", "cpu"), ("cpu", "cpu"), ("cuda", "gpu")])
def test_a_training_is_queued_by_its_device(device: str, queue: str):
    assert parse_spec({"method": "supervised", "resources": {"device": device}}).queue == queue
