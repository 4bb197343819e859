"""Transactions that write to the same jobs at once: each waits for the other's locks in turn, none for ever."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs import wishes
from libs.jobs.dependencies import end, needed
from libs.jobs.errors import JobError
from libs.jobs.moves import lock
from libs.jobs.reaper import reap
from libs.jobs.retention import delete_ended, delete_job
from libs.jobs.spec import parse_spec
from libs.jobs.states import JobStatus
from libs.jobs.submit import accept, retry
from tests.support.datasets import add_dataset
from tests.support.specs import submitted
from tests.support.waiting import until

Work = Callable[[Session], object]
COMPARED = {
    "method": "afd",
    "datasets": {"train": "pets"},
    "teacher": {"train": {"epochs": 3}},
    "compare": {"seeds": [1, 2], "baselines": ["supervised", "kd"]},
}


@dataclass(frozen=True)
class Meeting:
    """Two transactions, of which the first is stopped half-way, before a job that somebody holds."""

    held: UUID
    first: Work
    second: Work
    came_out: tuple[str, str]


def comparison(db: Session) -> tuple[UUID, dict[str, UUID]]:
    """A comparison that has failed with one of its runs, while the others have not ended: its id, and theirs."""
    add_dataset(db, "pets")
    whole = accept(db, DEFAULT_PROJECT_ID, parse_spec(COMPARED)).id
    found = {str(role).removeprefix("runs/"): other.id for other, role in needed(db, whole)}
    end(db, lock(db, found["supervised/1"]), JobStatus.CANCELLED)
    db.commit()
    return whole, found


def all_cancelled(db: Session) -> tuple[UUID, dict[str, UUID]]:
    whole, found = comparison(db)
    reap(db)  # the runs
    reap(db)  # their teacher
    db.commit()
    return whole, found


def cancel_and_retry(db: Session) -> Meeting:
    whole, found = comparison(db)
    return Meeting(
        found["kd/1"],
        lambda session: wishes.cancel(session, DEFAULT_PROJECT_ID, whole),
        lambda session: retry(session, DEFAULT_PROJECT_ID, whole),
        ("InvalidMove", "done"),
    )


def retry_of_all_and_of_one(db: Session) -> Meeting:
    return retry_beside(db, lambda session, _, one: retry(session, DEFAULT_PROJECT_ID, one), ("done", "done"))


def retry_and_delete(db: Session) -> Meeting:
    return retry_beside(db, lambda session, whole, _: delete_job(session, DEFAULT_PROJECT_ID, whole), ("done", "done"))


def retry_and_forget(db: Session) -> Meeting:
    """Runs that the retry had not come to are gone."""
    return retry_beside(db, lambda session, *_: delete_ended(session, older_than_s=0), ("DependencyNotFound", "done"))


def retry_beside(db: Session, other: Callable[[Session, UUID, UUID], object], came_out: tuple[str, str]) -> Meeting:
    """A cancelled comparison is retried while `other` is done with it, or with one of its runs."""
    whole, found = all_cancelled(db)
    return Meeting(
        found["supervised/1"],
        lambda session: retry(session, DEFAULT_PROJECT_ID, whole),
        lambda session: other(session, whole, found["kd/1"]),
        came_out,
    )


def two_ends_above_one_chain(db: Session) -> Meeting:
    """The oldest job that waits for both comes after a job in the chain of one of them."""
    one, other = submitted(db).id, submitted(db).id
    near = submitted(db, depends_on=(one,)).id
    between = submitted(db, depends_on=(near,)).id
    submitted(db, depends_on=(near, other))
    submitted(db, depends_on=(one, other))
    return Meeting(
        between,
        lambda session: end(session, lock(session, one), JobStatus.CANCELLED),
        lambda session: end(session, lock(session, other), JobStatus.CANCELLED),
        ("done", "done"),
    )


@pytest.mark.parametrize(
    "meet",
    [cancel_and_retry, retry_of_all_and_of_one, retry_and_delete, retry_and_forget, two_ends_above_one_chain],
)
def test_two_that_write_to_the_same_jobs_do_not_wait_for_each_other(
    engine: Engine, db: Session, meet: Callable[[Session], Meeting]
) -> None:
    meeting = meet(db)
    with ThreadPoolExecutor(2) as pool:
        with transaction(engine) as session:
            lock(session, meeting.held)
            first = pool.submit(outcome, engine, meeting.first)
            until(lambda: waiting_for_locks(db) == 1, "the first is stopped")
            second = pool.submit(outcome, engine, meeting.second)
            until(lambda: second.done() or waiting_for_locks(db) == 2, "the second has gone as far as it can")
        assert (first.result(), second.result()) == meeting.came_out


def outcome(engine: Engine, work: Work) -> str:
    """What became of a transaction; an error of Postgres is raised."""
    try:
        with transaction(engine) as session:
            work(session)
    except JobError as error:
        return type(error).__name__
    return "done"


def waiting_for_locks(db: Session) -> int:
    db.rollback()  # within a transaction Postgres shows the same activity again and again
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return db.scalars(text(waiting)).one()
