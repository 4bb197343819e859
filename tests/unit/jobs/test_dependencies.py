"""Jobs that wait for jobs: queued when all succeeded, failed or cancelled with the first that did."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job
from libs.jobs import queue, wishes
from libs.jobs.dependencies import end
from libs.jobs.errors import DependencyNotFound
from libs.jobs.events import after
from libs.jobs.moves import lock
from libs.jobs.reaper import reap
from libs.jobs.states import ExitReason, JobStatus
from libs.jobs.submit import submit
from tests.support.specs import LEASE_S, claimed_again, submitted, tiny_spec


def succeed(db: Session, job: Job) -> None:
    attempt = claimed_again(db, job)
    queue.succeed(db, attempt.id, attempt.epoch, {})
    db.commit()


def test_waiting_job_is_queued_when_the_last_dependency_succeeds(db: Session):
    first, second = submitted(db), submitted(db)
    waiting = submitted(db, depends_on=(first.id, second.id))
    assert waiting.status == "waiting"
    assert queue.claim(db, waiting.id, uuid4(), LEASE_S).id != waiting.id
    db.rollback()
    succeed(db, first)
    assert waiting.status == "waiting"
    succeed(db, second)
    db.refresh(waiting)
    assert waiting.status == "queued"


def test_failure_and_cancellation_go_down_the_whole_chain(db: Session):
    for spoil, expected in ((fail, "failed"), (cancel, "cancelled")):
        top = submitted(db)
        middle = submitted(db, depends_on=(top.id,))
        bottom = submitted(db, depends_on=(middle.id,))
        spoil(db, top)
        db.commit()
        db.refresh(bottom)
        assert (middle.status, bottom.status) == (expected, expected)
        assert bottom.status_reason == f"job {middle.id}, which it depends on, is {expected}"
        assert bottom.finished_at is not None


def fail(db: Session, job: Job) -> None:
    queue.fail(db, claimed_again(db, job).id, 1, ExitReason.ERROR, {"message": "broken"}, retryable=False)


def cancel(db: Session, job: Job) -> None:
    wishes.cancel(db, DEFAULT_PROJECT_ID, job.id)


def test_dependency_that_has_ended_already_decides_at_once(db: Session):
    done, gone = submitted(db), submitted(db)
    succeed(db, done)
    cancel(db, gone)
    db.commit()
    assert submitted(db, depends_on=(done.id,)).status == "queued"
    assert submitted(db, depends_on=(done.id, gone.id)).status == "cancelled"


def test_dependency_must_exist_in_the_project(db: Session):
    unknown = uuid4()
    with pytest.raises(DependencyNotFound, match=str(unknown)):
        submit(db, DEFAULT_PROJECT_ID, tiny_spec(), depends_on=(unknown,))


def test_dependencies_that_end_at_the_same_time_queue_the_job_once(engine: Engine, db: Session):
    for _ in range(5):
        both = [submitted(db).id for _ in range(2)]
        waiting = submitted(db, depends_on=tuple(both))
        db.execute(update(Job).where(Job.id.in_(both)).values(status=JobStatus.STARTING))
        db.execute(update(Job).where(Job.id.in_(both)).values(status=JobStatus.RUNNING))
        db.commit()

        def finish(job_id: UUID) -> None:
            with transaction(engine) as session:
                end(session, lock(session, job_id), JobStatus.SUCCEEDED)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(finish, both))
        db.refresh(waiting)
        assert waiting.status == "queued"
        assert [event.data.get("to") for event in after(db, waiting.id, 0)] == ["waiting", None, "queued"]
        wishes.cancel(db, DEFAULT_PROJECT_ID, waiting.id)
        db.commit()


def test_reaper_settles_what_a_crash_left_waiting(db: Session):
    done, gone = submitted(db), submitted(db)
    ready = submitted(db, depends_on=(done.id,))
    doomed = submitted(db, depends_on=(gone.id,))
    patient = submitted(db, depends_on=(submitted(db).id,))
    for job, path in ((done, ("starting", "running", "succeeded")), (gone, ("cancelled",))):
        for status in path:  # behind the back of `end`, which would settle them
            db.execute(update(Job).where(Job.id == job.id).values(status=status))
    db.commit()
    assert reap(db).settled == 2
    db.commit()
    assert [job.status for job in (ready, doomed, patient)] == ["queued", "cancelled", "waiting"]


def test_only_terminal_states_are_ends(db: Session):
    with pytest.raises(ValueError, match="not a terminal state"):
        end(db, submitted(db), JobStatus.PAUSED)
