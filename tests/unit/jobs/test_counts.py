"""What a process did with jobs is counted once it has been committed."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs import counts, queue, reaper
from libs.jobs.states import ExitReason
from libs.jobs.submit import submit
from tests.support.specs import claimed, claimed_again, expire_lease, failed, submitted, tiny_spec

Counted = dict[str, float]


class Watch:
    """What was counted since the test began, as `name label label` → how often."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counts.show_counts(self._registry)
        self._before = self._read()

    def _read(self) -> Counted:
        samples = [sample for metric in self._registry.collect() for sample in metric.samples]
        counted = [one for one in samples if one.name.endswith(("_total", "_count"))]
        return {" ".join([one.name, *one.labels.values()]).removeprefix("octavo_"): one.value for one in counted}

    def counted(self) -> Counted:
        """Changes, without what did not change."""
        changes = {name: value - self._before.get(name, 0.0) for name, value in self._read().items()}
        return {name: change for name, change in changes.items() if change}


@pytest.fixture
def watch() -> Iterator[Watch]:
    return Watch()


def test_every_end_of_an_attempt_is_shown_before_it_comes(db: Session, watch: Watch):
    claimed(db)
    shown = watch._read()
    assert {f"job_attempts_total supervised {reason.value}" for reason in ExitReason} <= shown.keys()


def test_a_job_is_counted_at_each_step_of_its_life(db: Session, watch: Watch):
    job = claimed(db)
    waits = submitted(db, depends_on=(job.id,))
    expire_lease(db, job)
    reaper.reap(db)
    db.commit()
    failed(db, claimed_again(db, job))
    assert waits.status == "failed"
    assert watch.counted() == {
        "jobs_submitted_total supervised": 2,
        "job_queue_wait_seconds_count cpu": 2,
        "job_attempts_total supervised worker_lost": 1,
        "job_attempts_total supervised error": 1,
        "job_attempt_seconds_count supervised": 2,
        "jobs_ended_total supervised failed error": 1,
        "jobs_ended_total supervised failed dependency": 1,
    }


def test_what_is_rolled_back_is_not_counted(db: Session, watch: Watch):
    submit(db, DEFAULT_PROJECT_ID, tiny_spec())
    db.rollback()
    with db.begin_nested() as savepoint:
        submit(db, DEFAULT_PROJECT_ID, tiny_spec())
        with db.begin_nested():
            submit(db, DEFAULT_PROJECT_ID, tiny_spec())
        savepoint.rollback()
    with db.begin_nested():
        submit(db, DEFAULT_PROJECT_ID, tiny_spec(method="frskd"))
    assert watch.counted() == {}
    db.commit()
    assert watch.counted() == {"jobs_submitted_total frskd": 1}


def test_a_lost_lease_counts_nothing(db: Session, watch: Watch):
    job = claimed(db)
    before = watch.counted()
    with pytest.raises(queue.LeaseLost):
        queue.fail(db, job.id, job.epoch + 1, ExitReason.ERROR, {"message": "late"})
    db.rollback()
    assert watch.counted() == before
