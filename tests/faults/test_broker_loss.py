"""Valkey that is killed, flushed or away: jobs are rows of Postgres, so none is lost and none runs twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, func, select

from libs.database.engine import transaction
from libs.database.tables import Outbox
from services.local.valkey import LocalValkey
from tests.support.platform import Platform, assert_ended_once, platform, scripted_training
from tests.support.postgres import open_folder
from tests.support.waiting import until


@pytest.fixture
def valkey() -> Iterator[LocalValkey]:
    with open_folder("octavo-valkey-") as folder, LocalValkey(folder) as server:
        yield server


@pytest.fixture
def octavo(engine: Engine, postgres_url: str, valkey: LocalValkey, tmp_path: Path) -> Iterator[Platform]:
    with platform(engine, postgres_url, valkey.url, tmp_path / "home") as made:
        yield made


def kill(valkey: LocalValkey) -> None:
    assert valkey.process is not None
    valkey.process.kill()
    valkey.process.wait(30)


def restart(valkey: LocalValkey) -> None:
    """Again on the same port, with nothing of what it held."""
    valkey.stop()
    valkey.start()


def unpublished(octavo: Platform) -> int:
    with transaction(octavo.engine) as session:
        return session.scalar(select(func.count()).select_from(Outbox))


def test_broker_killed_while_a_job_runs_and_another_waits(octavo: Platform, valkey: LocalValkey):
    octavo.start_relay()
    octavo.start_scripted_worker()
    octavo.allow(2)
    jobs = {octavo.submit(scripted_training()), octavo.submit(scripted_training())}
    running = until(lambda: next((job for job in jobs if octavo.job(job).status == "running"), None), "one runs")
    (waiting,) = jobs - {running}
    octavo.wait_for_step(running, 2)
    until(lambda: unpublished(octavo) == 0, "both were published")
    kill(valkey)
    octavo.allow(6)
    octavo.wait_for(running, "succeeded")
    restart(valkey)
    octavo.wait_for(waiting, "succeeded")
    assert_ended_once(octavo, running)
    assert_ended_once(octavo, waiting)


def test_flushed_messages_are_rung_again(octavo: Platform, valkey: LocalValkey):
    octavo.start_relay()
    jobs = [octavo.submit(scripted_training()) for _ in range(3)]
    until(lambda: unpublished(octavo) == 0, "all were published")
    with redis.Redis.from_url(valkey.url) as client:
        assert client.llen("cpu") == 3
        client.flushall()
    octavo.allow(6)
    octavo.start_scripted_worker()
    for job_id in jobs:
        octavo.wait_for(job_id, "succeeded")
        assert len(octavo.attempts(job_id)) == 1
        assert_ended_once(octavo, job_id)


def test_jobs_submitted_while_the_broker_is_away_run_when_it_is_back(octavo: Platform, valkey: LocalValkey):
    octavo.allow(6)
    octavo.start_relay()
    octavo.start_scripted_worker()
    until(lambda: "relay_ready" in octavo.log("relay"), "the relay is ready")
    kill(valkey)
    job_id = octavo.submit(scripted_training())
    until(lambda: "broker_lost" in octavo.log("relay"), "the relay noticed")
    assert octavo.job(job_id).status == "queued"
    restart(valkey)
    octavo.wait_for(job_id, "succeeded")
    assert_ended_once(octavo, job_id)


def test_waiting_jobs_are_not_rung_again_while_their_messages_are_there(octavo: Platform, valkey: LocalValkey):
    octavo.start_relay()
    for _ in range(5):
        octavo.submit(scripted_training())
    octavo.start("relay-2", "services.worker.relay", OCTAVO_RING_AGAIN_S="0.01", OCTAVO_REAP_EVERY_S="0.05")
    until(lambda: unpublished(octavo) == 0, "all were published")
    octavo.start_scripted_worker()
    octavo.allow(1)
    until(lambda: len(octavo.children()) == 1, "one of them runs")
    with redis.Redis.from_url(valkey.url) as client:
        # Each relay may ring once for a message that was taken and not yet claimed; without a limit it were hundreds.
        assert client.llen("cpu") <= 5 + 2


def test_leases_are_reaped_while_the_broker_is_away(octavo: Platform, valkey: LocalValkey):
    job_id = octavo.begun(2)
    kill(valkey)
    octavo.kill("worker")
    octavo.wait_for(job_id, "queued", timeout_s=60)
    assert octavo.job(job_id).status_reason == "worker_lost"
    until(lambda: "broker_lost" in octavo.log("relay"), "the relay noticed")
    assert "database_lost" not in octavo.log("relay")
    restart(valkey)
    octavo.allow(6)
    octavo.start_scripted_worker("worker-2")
    octavo.wait_for(job_id, "succeeded")
    assert_ended_once(octavo, job_id)
