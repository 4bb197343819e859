"""A job through every part: outbox, relay, Valkey, Celery, claim, child process, registry."""

from libs.jobs.spec import JobSpec, parse_spec
from tests.support.platform import Platform, add_digits

TINY = {"epochs": 2, "model": "resnet8", "batch_size": 32, "lr": 0.05, "augment": "none"}


def tiny_training(**changes: object) -> JobSpec:
    config = {**TINY, **changes.pop("config", {})}
    return parse_spec(
        {"method": "supervised", "name": "tiny", "datasets": {"train": "digits"}, "config": config, **changes}
    )


def test_a_training_job_ends_in_one_ready_version_with_its_history(octavo: Platform):
    add_digits(octavo)
    octavo.start_relay()
    octavo.start_worker()
    job_id = octavo.submit(tiny_training())
    job = octavo.wait_for(job_id, "succeeded")
    (version,) = octavo.versions(job_id)
    assert version.status == "ready", version.status_reason
    assert job.result["model"]["version"] == 1
    assert job.progress == 1.0
    assert job.attempts_used == 1
    events = octavo.events(job_id)
    assert [event.seq for event in events] == list(range(1, job.last_event_seq + 1))
    moves = [event.data["to"] for event in events if event.kind == "status"]
    assert moves == ["queued", "starting", "running", "succeeded"]
    assert version.lineage["job_id"] == str(job_id)
    assert version.lineage["dataset_digests"]["train"]
    assert octavo.terminate("worker") == 0
    assert octavo.terminate("relay") == 0
    assert octavo.children() == []
