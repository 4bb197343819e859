"""Claiming and ending attempts: one winner, priorities, fences, retries."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, JobEvent, Outbox
from libs.jobs import queue, wishes
from libs.jobs.errors import LeaseLost
from libs.jobs.reports import attempts
from libs.jobs.states import ExitReason
from tests.support.specs import LEASE_S, claimed, claimed_again, expire_lease, submitted

pytestmark = pytest.mark.every_postgres

ERROR = {"error": "RuntimeError", "message": "it broke"}


def test_each_of_many_jobs_is_claimed_once(engine: Engine, db: Session):
    rung = [submitted(db).id for _ in range(20)]

    def take(job_id: UUID) -> UUID | None:
        with transaction(engine) as session:
            job = queue.claim(session, job_id, uuid4(), LEASE_S)
            return job.id if job else None

    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(take, rung + rung))
    claimed_ids = [job_id for job_id in taken if job_id is not None]
    assert sorted(claimed_ids) == sorted(rung)


def test_claim_gives_an_epoch_a_lease_by_the_databases_clock_and_an_attempt(db: Session):
    job = claimed(db)
    assert (job.status, job.epoch, job.attempts_used) == ("starting", 1, 1)
    left = db.scalar(select(Job.lease_expires_at - func.clock_timestamp()).where(Job.id == job.id))
    assert LEASE_S - 5 < left.total_seconds() <= LEASE_S
    (attempt,) = attempts(db, job.id)
    assert (attempt.epoch, attempt.worker_id, attempt.exit_reason) == (1, job.worker_id, None)


def test_ring_takes_the_most_urgent_job_of_its_queue(db: Session):
    plain = submitted(db)
    urgent = submitted(db, priority=5)
    other_queue = submitted(db, priority=9, resources={"queue": "gpu"})
    assert queue.claim(db, plain.id, uuid4(), LEASE_S).id == urgent.id
    assert queue.claim(db, plain.id, uuid4(), LEASE_S).id == plain.id
    assert queue.claim(db, plain.id, uuid4(), LEASE_S) is None
    assert queue.claim(db, other_queue.id, uuid4(), LEASE_S).id == other_queue.id


def test_ring_of_an_unknown_job_takes_nothing(db: Session):
    submitted(db)
    assert queue.claim(db, uuid4(), uuid4(), LEASE_S) is None


def test_success_ends_the_attempt_and_the_job(db: Session):
    job = claimed(db)
    queue.mark_running(db, job.id, 1, "cpu")
    queue.succeed(db, job.id, 1, {"metrics": {"val/accuracy": 0.9}})
    db.commit()
    assert (job.status, job.progress, job.result) == ("succeeded", 1.0, {"metrics": {"val/accuracy": 0.9}})
    assert job.finished_at is not None
    assert (job.worker_id, job.lease_expires_at) == (None, None)
    assert attempts(db, job.id)[0].exit_reason == "ok"


STALE_WRITES = {
    "heartbeat": lambda db, job, epoch: queue.heartbeat(db, job.id, epoch, LEASE_S),
    "wish": lambda db, job, epoch: queue.wish(db, job.id, epoch),
    "mark_running": lambda db, job, epoch: queue.mark_running(db, job.id, epoch, "cpu"),
    "succeed": lambda db, job, epoch: queue.succeed(db, job.id, epoch, {}),
    "fail": lambda db, job, epoch: queue.fail(db, job.id, epoch, ExitReason.ERROR, ERROR),
    "stop": lambda db, job, epoch: queue.stop(db, job.id, epoch),
}


@pytest.mark.parametrize("write", STALE_WRITES.values(), ids=STALE_WRITES.keys())
def test_attempt_that_was_superseded_can_write_nothing(db: Session, write):
    from libs.jobs.reaper import reap

    job = claimed(db)
    expire_lease(db, job)
    reap(db)
    db.commit()
    with pytest.raises(LeaseLost):
        write(db, job, 1)  # reaped, not yet taken
    claimed_again(db, job)
    before = (job.status, job.last_event_seq, job.epoch)
    with pytest.raises(LeaseLost):
        write(db, job, 1)
    db.rollback()
    db.refresh(job)
    assert (job.status, job.last_event_seq, job.epoch) == before
    queue.heartbeat(db, job.id, 2, LEASE_S)


def test_heartbeat_extends_the_lease_and_tells_the_wish(db: Session):
    job = claimed(db)
    expire_lease(db, job)
    assert queue.heartbeat(db, job.id, 1, LEASE_S) is None
    db.commit()
    db.refresh(job)
    assert job.lease_expires_at.year > 2000
    wishes.pause(db, DEFAULT_PROJECT_ID, job.id)
    assert queue.heartbeat(db, job.id, 1, LEASE_S) == "pause"
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
    assert queue.wish(db, job.id, 1) == "cancel"


def test_failure_waits_its_backoff_and_the_last_one_is_final(db: Session):
    job = claimed(db, max_attempts=2)
    queue.fail(db, job.id, 1, ExitReason.ERROR, ERROR, exit_code=1, backoff_s=1000)
    db.commit()
    assert job.status == "retry_wait"
    wait = db.scalar(select(Job.not_before - func.clock_timestamp()).where(Job.id == job.id))
    assert 990 < wait.total_seconds() <= 1000
    job.not_before = func.clock_timestamp()
    db.commit()
    from libs.jobs.reaper import reap

    assert reap(db).retried == 1
    db.commit()
    claimed_again(db, job)
    queue.fail(db, job.id, 2, ExitReason.ERROR, ERROR)
    db.commit()
    assert (job.status, job.status_reason, job.error) == ("failed", "error (attempt 2 of 2)", ERROR)
    assert [attempt.exit_code for attempt in attempts(db, job.id)] == [1, None]


@pytest.mark.parametrize(
    ("attempts_used", "expected"), [(1, 5.0), (2, 10.0), (4, 40.0), (30, 3600.0), (10_000, 3600.0)]
)
def test_backoff_doubles_up_to_an_hour(attempts_used: int, expected: float):
    assert queue.backoff(attempts_used, 5.0) == expected


def test_users_error_is_final_at_once(db: Session):
    job = claimed(db)
    queue.fail(db, job.id, 1, ExitReason.ERROR, ERROR, retryable=False)
    assert (job.status, job.status_reason) == ("failed", "error")


@pytest.mark.parametrize(
    ("asked", "after_failure", "after_stop"),
    [(wishes.cancel, "cancelled", "cancelled"), (wishes.pause, "paused", "paused"), (None, "retry_wait", "queued")],
)
def test_what_was_wished_decides_where_an_attempt_leads(db: Session, asked, after_failure: str, after_stop: str):
    for end, expected in (
        (lambda job: queue.fail(db, job.id, 1, ExitReason.ERROR, ERROR), after_failure),
        (lambda job: queue.stop(db, job.id, 1), after_stop),
    ):
        job = claimed(db)
        if asked is not None:
            asked(db, DEFAULT_PROJECT_ID, job.id)
        end(job)
        db.commit()
        assert job.status == expected
        if expected == "queued":
            queue.stop(db, claimed_again(db, job).id, 2)  # out of the way of the next claim
            wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
            db.commit()


def test_stopped_attempt_is_not_counted_and_is_rung_again(db: Session):
    job = claimed(db, max_attempts=1)
    before = db.scalar(select(func.count()).select_from(Outbox))
    queue.stop(db, job.id, 1, exit_code=0)
    db.commit()
    assert (job.status, job.attempts_used) == ("queued", 0)
    assert db.scalar(select(func.count()).select_from(Outbox)) == before + 1
    assert attempts(db, job.id)[0].exit_reason == "shutdown"


def test_success_beats_a_wish_that_came_too_late(db: Session):
    job = claimed(db)
    queue.mark_running(db, job.id, 1, "cpu")
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)
    queue.succeed(db, job.id, 1, {})
    assert job.status == "succeeded"


def test_every_move_is_an_event(db: Session):
    job = claimed(db)
    queue.mark_running(db, job.id, 1, "cpu")
    queue.succeed(db, job.id, 1, {})
    db.commit()
    events = db.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)).all()
    assert [(event.data["from"], event.data["to"]) for event in events if event.kind == "status"] == [
        (None, "queued"),
        ("queued", "starting"),
        ("starting", "running"),
        ("running", "succeeded"),
    ]
