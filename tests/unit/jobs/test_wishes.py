"""Cancel, pause and resume, from every state."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Job
from libs.jobs import queue, wishes
from libs.jobs.errors import GroupNotFound, InvalidMove, JobNotFound
from libs.jobs.states import ExitReason
from tests.support.specs import claimed, submitted


def running(db: Session) -> Job:
    job = claimed(db)
    queue.mark_running(db, job.id, 1, "cpu")
    return job


def retry_wait(db: Session) -> Job:
    return queue.fail(db, claimed(db).id, 1, ExitReason.ERROR, {"message": "broken"})


def paused(db: Session) -> Job:
    return wishes.pause(db, DEFAULT_PROJECT_ID, submitted(db).id)


def pausing(db: Session) -> Job:
    return wishes.pause(db, DEFAULT_PROJECT_ID, running(db).id)


def cancelling(db: Session) -> Job:
    return wishes.cancel(db, DEFAULT_PROJECT_ID, running(db).id)


def waiting(db: Session) -> Job:
    return submitted(db, depends_on=(submitted(db).id,))


def paused_while_waiting(db: Session) -> Job:
    return wishes.pause(db, DEFAULT_PROJECT_ID, waiting(db).id)


def succeeded(db: Session) -> Job:
    return queue.succeed(db, claimed(db).id, 1, {})


def cancelled(db: Session) -> Job:
    return wishes.cancel(db, DEFAULT_PROJECT_ID, submitted(db).id)


REFUSED = None
CASES = [
    (wishes.cancel, submitted, "cancelled"),
    (wishes.cancel, waiting, "cancelled"),
    (wishes.cancel, retry_wait, "cancelled"),
    (wishes.cancel, paused, "cancelled"),
    (wishes.cancel, claimed, "cancelling"),
    (wishes.cancel, running, "cancelling"),
    (wishes.cancel, pausing, "cancelling"),
    (wishes.cancel, cancelling, "cancelling"),
    (wishes.cancel, succeeded, REFUSED),
    (wishes.cancel, cancelled, REFUSED),
    (wishes.pause, submitted, "paused"),
    (wishes.pause, retry_wait, "paused"),
    (wishes.pause, claimed, "pausing"),
    (wishes.pause, running, "pausing"),
    (wishes.pause, pausing, "pausing"),
    (wishes.pause, paused, "paused"),
    (wishes.pause, waiting, "paused"),
    (wishes.pause, cancelling, REFUSED),
    (wishes.pause, succeeded, REFUSED),
    (wishes.resume, paused, "queued"),
    (wishes.resume, paused_while_waiting, "waiting"),
    (wishes.resume, submitted, REFUSED),
    (wishes.resume, running, REFUSED),
    (wishes.resume, retry_wait, REFUSED),
    (wishes.resume, cancelled, REFUSED),
]


@pytest.mark.parametrize(("ask", "job_in", "expected"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_wish_from_state(db: Session, ask, job_in, expected: str | None):
    job = job_in(db)
    before = job.status
    if expected is REFUSED:
        with pytest.raises(InvalidMove) as refused:
            ask(db, DEFAULT_PROJECT_ID, job.id)
        assert (refused.value.status, job.status) == (before, before)
    else:
        assert ask(db, DEFAULT_PROJECT_ID, job.id).status == expected


@pytest.mark.parametrize("ask", [wishes.cancel, wishes.pause, wishes.resume])
def test_job_of_another_project_is_not_there(db: Session, ask):
    job = submitted(db)
    with pytest.raises(JobNotFound):
        ask(db, uuid4(), job.id)
    with pytest.raises(JobNotFound):
        ask(db, DEFAULT_PROJECT_ID, uuid4())


def test_group_is_cancelled_as_a_whole_but_for_what_has_ended(db: Session):
    group = uuid4()
    done = submitted(db, group_id=group)
    queue.succeed(db, queue.claim(db, done.id, uuid4(), 30).id, 1, {})
    first = submitted(db, group_id=group)
    second = submitted(db, depends_on=(first.id,), group_id=group)
    stranger = submitted(db)
    assert wishes.cancel_group(db, DEFAULT_PROJECT_ID, group) == 2
    assert [job.status for job in (done, first, second, stranger)] == ["succeeded", "cancelled", "cancelled", "queued"]
    with pytest.raises(GroupNotFound):
        wishes.cancel_group(db, uuid4(), group)
