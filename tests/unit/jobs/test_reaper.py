"""What crashes leave behind, put right: lost leases, waits that are over, messages that vanished."""

from uuid import uuid4

import pytest
from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, JobAttempt, Outbox
from libs.jobs import outbox, reaper, wishes
from libs.jobs.reports import attempts
from tests.support.specs import claimed, claimed_again, expire_lease, submitted

pytestmark = pytest.mark.every_postgres


def published(db: Session) -> None:
    outbox.publish(db, lambda message: None)
    db.commit()


def test_expired_lease_queues_the_job_again_and_rings(db: Session):
    job = claimed(db)
    published(db)
    assert reaper.reap(db).lost == 0
    expire_lease(db, job)
    assert reaper.reap(db).lost == 1
    db.commit()
    assert (job.status, job.status_reason, job.worker_id) == ("queued", "worker_lost", None)
    assert db.scalars(select(Outbox.job_id)).all() == [job.id]
    (attempt,) = attempts(db, job.id)
    assert attempt.exit_reason == "worker_lost"
    assert "did not renew its lease" in attempt.error["message"]


def test_last_attempt_that_is_lost_fails_the_job(db: Session):
    job = claimed(db, max_attempts=2)
    for _ in range(2):
        expire_lease(db, job)
        reaper.reap(db)
        db.commit()
        if job.status == "queued":
            claimed_again(db, job)
    assert (job.status, job.status_reason) == ("failed", "worker_lost (attempt 2 of 2)")
    assert job.error["error"] == "worker_lost"


@pytest.mark.parametrize(("ask", "expected"), [(wishes.cancel, "cancelled"), (wishes.pause, "paused")])
def test_wish_of_a_lost_attempt_is_granted(db: Session, ask, expected: str):
    job = claimed(db)
    ask(db, DEFAULT_PROJECT_ID, job.id)
    expire_lease(db, job)
    reaper.reap(db)
    db.commit()
    assert job.status == expected


def test_one_that_cannot_be_put_right_holds_up_no_other(db: Session):
    broken, other = claimed(db), claimed(db)
    for job in (broken, other):
        expire_lease(db, job)
    db.execute(delete(JobAttempt).where(JobAttempt.job_id == broken.id))
    db.commit()
    assert reaper.reap(db).lost == 1
    db.commit()
    assert (broken.status, other.status) == ("starting", "queued")


def test_row_that_another_holds_is_passed_over(engine: Engine, db: Session):
    held, free = claimed(db), claimed(db)
    expire_lease(db, held)
    expire_lease(db, free)
    with transaction(engine) as other:
        other.execute(select(Job).where(Job.id == held.id).with_for_update())
        assert reaper.reap(db).lost == 1
        db.commit()
    assert reaper.reap(db).lost == 1


def test_backlog_counts_what_the_broker_should_hold(db: Session):
    submitted(db)
    submitted(db, resources={"queue": "gpu"})
    assert reaper.backlog(db) == {}
    published(db)
    submitted(db)
    assert reaper.backlog(db) == {"cpu": 1, "gpu": 1}


def test_ring_again_takes_the_longest_silent_and_no_more_than_are_missing(db: Session):
    jobs = [submitted(db) for _ in range(4)]
    published(db)
    assert reaper.ring_again(db, "cpu", 4, older_than_s=60) == []
    for age, job in enumerate(jobs):
        rung = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 10 - age)  # minutes
        db.execute(update(Job).where(Job.id == job.id).values(rung_at=rung))
    db.commit()
    assert reaper.ring_again(db, "gpu", 4, older_than_s=1) == []
    assert reaper.ring_again(db, "cpu", 2, older_than_s=1) == [jobs[0].id, jobs[1].id]
    db.commit()
    assert reaper.backlog(db) == {"cpu": 2}
    assert reaper.ring_again(db, "cpu", 9, older_than_s=8.5 * 60) == []


def test_ring_again_leaves_claimed_jobs_alone(db: Session):
    job = claimed(db)
    published(db)
    db.execute(update(Job).where(Job.id == job.id).values(rung_at="2000-01-01T00:00:00Z"))
    assert reaper.ring_again(db, "cpu", 9, older_than_s=1) == []
    assert reaper.backlog(db) == {}
    assert uuid4() not in reaper.ring_again(db, "cpu", 0, older_than_s=1)
