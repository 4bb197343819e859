"""Any order of claims, endings, wishes, lost leases and reaping keeps the queue's promises."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from libs.database.engine import session, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, JobAttempt, JobEvent, Outbox
from libs.jobs import queue, reaper, wishes
from libs.jobs.errors import InvalidMove, LeaseLost
from libs.jobs.states import ACTIVE, ALLOWED_MOVES, TERMINAL, ExitReason, JobStatus
from libs.jobs.submit import submit
from tests.support.specs import tiny_spec

PAST = "2000-01-01T00:00:00Z"


class QueueMachine(RuleBasedStateMachine):
    """One job, the workers that ever had it, and a user."""

    engine: Engine

    @initialize(max_attempts=st.integers(1, 3))
    def submit(self, max_attempts: int) -> None:
        with transaction(self.engine) as db:
            db.execute(delete(Job))
            self.job_id = submit(db, DEFAULT_PROJECT_ID, tiny_spec(max_attempts=max_attempts)).id
        self.ended_as: str | None = None

    def read(self) -> Job:
        with session(self.engine) as db:
            return db.get_one(Job, self.job_id)

    @rule()
    def claim(self) -> None:
        before = self.read()
        with transaction(self.engine) as db:
            job = queue.claim(db, self.job_id, uuid4(), 30)
        assert (job is not None) == (before.status == "queued")
        assert job is None or job.epoch == before.epoch + 1

    @rule(epoch=st.integers(1, 4), end=st.sampled_from(["succeed", "fail", "fail-for-good", "stop", "run", "beat"]))
    def write_as_a_worker(self, epoch: int, end: str) -> None:
        before = self.read()
        holds = before.epoch == epoch and before.status in ACTIVE
        try:
            with transaction(self.engine) as db:
                self.write(db, epoch, end)
        except LeaseLost:
            assert not holds
        else:
            assert holds

    def write(self, db: Session, epoch: int, end: str) -> None:
        error = {"message": "broken"}
        match end:
            case "succeed":
                queue.succeed(db, self.job_id, epoch, {})
            case "fail":
                queue.fail(db, self.job_id, epoch, ExitReason.ERROR, error, backoff_s=0)
            case "fail-for-good":
                queue.fail(db, self.job_id, epoch, ExitReason.ERROR, error, retryable=False)
            case "stop":
                queue.stop(db, self.job_id, epoch)
            case "run":
                queue.mark_running(db, self.job_id, epoch, "cpu")
            case "beat":
                queue.heartbeat(db, self.job_id, epoch, 30)

    @rule(ask=st.sampled_from([wishes.cancel, wishes.pause, wishes.resume]))
    def ask(self, ask) -> None:
        before = self.read()
        try:
            with transaction(self.engine) as db:
                ask(db, DEFAULT_PROJECT_ID, self.job_id)
        except InvalidMove:
            assert self.read().status == before.status

    @rule(lost=st.booleans())
    def reap(self, lost: bool) -> None:
        with transaction(self.engine) as db:
            if lost:
                held = update(Job).where(Job.id == self.job_id, Job.status.in_(ACTIVE))
                db.execute(held.values(lease_expires_at=PAST))
            reaper.reap(db)

    @rule()
    def lose_messages(self) -> None:
        with transaction(self.engine) as db:
            db.execute(delete(Outbox))
            db.execute(update(Job).where(Job.id == self.job_id).values(rung_at=PAST))

    @precondition(lambda self: self.read().status == "queued")
    @rule()
    def ring_again(self) -> None:
        with transaction(self.engine) as db:
            reaper.ring_again(db, "cpu", 1, 5.0)
            assert db.scalars(select(Outbox.job_id)).all(), "a queued job is on its way to the broker"

    @invariant()
    def history_is_gapless_and_lawful(self) -> None:
        with session(self.engine) as db:
            job = db.get_one(Job, self.job_id)
            events = db.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)).all()
        assert [event.seq for event in events] == list(range(1, job.last_event_seq + 1))
        moves = [(event.data["from"], event.data["to"]) for event in events if event.kind == "status"]
        assert all(JobStatus(new) in ALLOWED_MOVES[JobStatus(old)] for old, new in moves if old is not None)
        assert [new for _, new in moves[:-1]] == [old for old, _ in moves[1:]]
        assert moves[-1][1] == job.status

    @invariant()
    def attempts_are_counted(self) -> None:
        with session(self.engine) as db:
            job = db.get_one(Job, self.job_id)
            attempts = db.scalars(select(JobAttempt).where(JobAttempt.job_id == job.id)).all()
        running = [attempt for attempt in attempts if attempt.finished_at is None]
        assert len(running) == (job.status in ACTIVE)
        stopped = {"cancelled", "paused", "shutdown"}
        assert job.attempts_used == sum(attempt.exit_reason not in stopped for attempt in attempts)
        assert 0 <= job.attempts_used <= job.max_attempts
        assert (job.lease_expires_at is not None) == (job.status in ACTIVE)

    @invariant()
    def end_is_an_end(self) -> None:
        job = self.read()
        assert self.ended_as in (None, job.status)
        if job.status in TERMINAL:
            self.ended_as = job.status
            assert job.finished_at is not None


@pytest.fixture
def machine(engine: Engine) -> type[QueueMachine]:
    return type("QueueMachineHere", (QueueMachine,), {"engine": engine})


def test_queue_keeps_its_promises_in_any_order(machine: type[QueueMachine]):
    few = settings(max_examples=25, stateful_step_count=20, suppress_health_check=list(HealthCheck), database=None)
    run_state_machine_as_test(machine, settings=few)
