"""A real training that is killed and resumed: its weights equal those of one nobody touched, to the last bit."""

import signal

import pytest

from libs.jobs.spec import JobSpec, parse_spec
from tests.support.platform import Platform, add_digits
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)  # real trainings, on machines that may be busy


def training(method: str) -> JobSpec:
    """Three epochs of seven steps; a checkpoint after every step."""
    config = {"model": "resnet8", "epochs": 3, "batch_size": 24, "lr": 0.05, "checkpoint_every_s": 0}
    body = {"method": method, "name": "resumed", "datasets": {"train": "digits"}, "seed": 7, "config": config}
    return parse_spec(body)


@pytest.mark.parametrize("method", ["supervised", "frskd"])
def test_killed_and_resumed_training_equals_the_uninterrupted_one(octavo: Platform, method: str):
    add_digits(octavo)
    octavo.start_relay()
    octavo.start_worker()
    untouched = octavo.submit(training(method))
    octavo.wait_for(untouched, "succeeded")
    killed = octavo.submit(training(method))  # only now: which of two waiting jobs runs first is not said
    octavo.wait_for_step(killed, 3)
    (child,) = octavo.children()
    child.send_signal(signal.SIGKILL)
    octavo.wait_for(killed, "succeeded")
    attempts = octavo.attempts(killed)
    assert [attempt.exit_reason for attempt in attempts] == ["error", "ok"]
    digests = [octavo.versions(job_id)[0].bundle["files"] for job_id in (untouched, killed)]
    assert digests[0]["model.safetensors"] == digests[1]["model.safetensors"]
    assert [version.version for job_id in (untouched, killed) for version in octavo.versions(job_id)] == [1, 2]
    until(lambda: not octavo.children(), "no child process left")
