"""Postgres that restarts under a running job: the job runs on, its history has no gap, and it ends once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.database.engine import make_engine
from libs.database.migrate import upgrade
from services.local.postgres import LocalPostgres
from tests.support.platform import Platform, assert_ended_once, platform
from tests.support.postgres import open_folder
from tests.support.waiting import until


@pytest.fixture
def postgres() -> Iterator[LocalPostgres]:
    with open_folder("octavo-postgres-") as folder, LocalPostgres(folder, fsync=False) as server:
        yield server


@pytest.fixture
def octavo(postgres: LocalPostgres, valkey_url: str, tmp_path: Path) -> Iterator[Platform]:
    engine = make_engine(postgres.url)
    upgrade(engine)
    with platform(engine, postgres.url, valkey_url, tmp_path / "home") as made:
        yield made
    engine.dispose()


def test_job_survives_a_restart_of_postgres_within_one_attempt(octavo: Platform, postgres: LocalPostgres):
    octavo.environment["OCTAVO_LEASE_S"] = "10"
    job_id = octavo.begun(2)
    postgres.stop()
    octavo.allow(4)
    until(lambda: "database_lost" in octavo.log("worker"), "the worker noticed")
    until(lambda: "database_lost" in octavo.log("relay"), "the relay noticed")
    postgres.start()
    octavo.allow(6)
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["ok"]
    assert_ended_once(octavo, job_id)


def test_job_that_ends_while_postgres_is_away_is_recorded_when_it_is_back(octavo: Platform, postgres: LocalPostgres):
    octavo.environment["OCTAVO_LEASE_S"] = "60"
    job_id = octavo.begun(2)
    postgres.stop()
    octavo.allow(6)
    until(lambda: not octavo.children(), "the child ended")
    postgres.start()
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["ok"]
    assert_ended_once(octavo, job_id)
