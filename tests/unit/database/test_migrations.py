"""Migrations against a real Postgres: up, down, up again, and equal to the tables of the ORM."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect, text

from libs.database import migrate
from libs.database.engine import make_engine
from libs.database.tables import DEFAULT_PROJECT_ID
from services.local.postgres import installed_majors
from tests.support.postgres import cloned_database

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def empty(postgres_server_url: str) -> Iterator[Engine]:
    with cloned_database(postgres_server_url, template="template0") as url:
        engine = make_engine(url)
        yield engine
        engine.dispose()


@pytest.mark.parametrize("major", [16, 18])
def test_both_majors_are_here_to_be_tested(major: int):
    assert major in installed_majors()


def test_the_server_is_of_the_version_the_test_asks_for(engine: Engine, request: pytest.FixtureRequest):
    with engine.connect() as connection:
        major = int(connection.scalar(text("SHOW server_version_num"))) // 10_000
    assert f"postgres-{major}" in request.node.name


def test_up_down_up_leaves_the_tables_of_the_orm(empty: Engine):
    migrate.upgrade(empty)
    assert migrate.differences(empty) == []
    migrate.downgrade(empty, "base")
    assert inspect(empty).get_table_names() == ["alembic_version"]
    assert migrate.current(empty) is None
    migrate.upgrade(empty)
    assert migrate.differences(empty) == []
    assert migrate.current(empty) == migrate.head()


def test_upgrade_twice_changes_nothing(empty: Engine):
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    with empty.connect() as connection:
        assert connection.scalars(text("SELECT id FROM projects")).all() == [DEFAULT_PROJECT_ID]


def test_jobs_of_known_runs_get_the_name_of_their_schedule(empty: Engine):
    migrate.upgrade(empty, "0005")
    with empty.begin() as connection:
        connection.execute(text(_RUN_OF_0005), {"project": DEFAULT_PROJECT_ID})
    migrate.upgrade(empty)
    with empty.connect() as connection:
        named = connection.execute(text("SELECT name, schedule FROM jobs ORDER BY name")).all()
    assert named == [("check", "nightly"), ("other", None), ("update", "nightly")]


_RUN_OF_0005 = """
WITH made AS (
    INSERT INTO jobs (id, project_id, name, method, spec, status, queue, priority, epoch, attempts_used, max_attempts,
                      progress, progress_note, last_event_seq)
    SELECT gen_random_uuid(), :project, name, 'm', '{}', 'succeeded', 'cpu', 0, 0, 0, 3, 0, '', 0
    FROM unnest(ARRAY['check', 'other', 'update']) name RETURNING id, name
), schedule AS (
    INSERT INTO schedules (id, project_id, name, every_s, timezone, job, overlap, misfire, status, refusals)
    VALUES (gen_random_uuid(), :project, 'nightly', 60, 'UTC', '{}', 'skip', 'once', 'paused', 0) RETURNING id
), waited AS (
    INSERT INTO job_dependencies (job_id, depends_on)
    SELECT update.id, checked.id FROM made update, made checked WHERE update.name = 'update' AND checked.name = 'check'
)
INSERT INTO schedule_runs (id, schedule_id, planned_at, fired_by, outcome, job_id)
SELECT gen_random_uuid(), schedule.id, now(), 'clock', 'submitted', made.id
FROM schedule, made WHERE made.name = 'update'
"""


def test_differences_name_a_missing_column_and_an_old_trigger(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs DROP COLUMN progress_note"))
        connection.execute(text("ALTER TABLE jobs DROP CONSTRAINT fk_jobs_parent_id"))
        connection.execute(
            text("CREATE OR REPLACE FUNCTION octavo_guard_job_move() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'")
        )
    found = "\n".join(migrate.differences(engine))
    assert "progress_note" in found
    assert "fk_jobs_parent_id" in found
    assert "octavo_guard_job_move" in found
