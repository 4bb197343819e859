"""The trigger on job states: exactly the moves of `ALLOWED_MOVES`, no other."""

from itertools import product
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs.states import ALLOWED_MOVES, TERMINAL, JobStatus

pytestmark = pytest.mark.every_postgres

_INSERT = text(
    "INSERT INTO jobs (id, project_id, name, method, spec, status, queue, priority, epoch, attempts_used, max_attempts,"
    " progress, progress_note, last_event_seq)"
    " VALUES (:id, :project, 'job', 'supervised', '{}', :status, 'cpu', 0, 0, 0, 3, 0, '', 0)"
)
_UPDATE = text("UPDATE jobs SET status = :status WHERE id = :id")


def move_is_allowed(engine: Engine, old: JobStatus, new: JobStatus) -> bool:
    job_id = uuid4()
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(_INSERT, {"id": job_id, "project": DEFAULT_PROJECT_ID, "status": old})
        try:
            connection.execute(_UPDATE, {"id": job_id, "status": new})
        except IntegrityError as error:
            return f"may not move from {old} to {new}" not in str(error)
        finally:
            transaction.rollback()
    return True


def test_trigger_allows_exactly_the_moves_of_the_table(engine: Engine):
    seen = {(old, new) for old, new in product(JobStatus, repeat=2) if move_is_allowed(engine, old, new)}
    unchanged = {(status, status) for status in JobStatus}
    assert seen == unchanged | {(old, new) for old, allowed in ALLOWED_MOVES.items() for new in allowed}


def test_every_state_can_reach_an_end_and_no_end_is_left():
    for status in JobStatus:
        reached, frontier = {status}, {status}
        while frontier:
            frontier = set().union(*(ALLOWED_MOVES[state] for state in frontier)) - reached
            reached |= frontier
        assert reached & TERMINAL
    assert all(not ALLOWED_MOVES[status] for status in TERMINAL)


def test_unknown_state_is_refused(engine: Engine):
    row = {"id": uuid4(), "project": DEFAULT_PROJECT_ID, "status": "resting"}
    with engine.connect() as connection, pytest.raises(IntegrityError, match="ck_jobs_status_known"):
        connection.execute(_INSERT, row)
