"""The relay's loop beside a real Postgres and Valkey: jobs that ended long ago."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from uuid import UUID

from sqlalchemy import Engine, func, select, update

from libs.database.engine import transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Job, Outbox
from libs.jobs.retention import BATCH
from libs.jobs.submit import submit
from libs.jobs.wishes import cancel
from libs.settings import PlatformSettings
from services.worker.celery_app import make_app
from services.worker.relay import Relay
from tests.support.specs import tiny_spec
from tests.support.waiting import until


def jobs(engine: Engine) -> set[UUID]:
    with transaction(engine) as session:
        return set(session.scalars(select(Job.id)))


def old_and_other_jobs(engine: Engine, old: int) -> set[UUID]:
    """Submit `old` jobs that ended 31 days ago, one that ended now, and one that waits; the ids of the last two."""
    with transaction(engine) as session:
        *ended, recent, queued = (submit(session, DEFAULT_PROJECT_ID, tiny_spec()).id for _ in range(old + 2))
        for job_id in (*ended, recent):
            cancel(session, DEFAULT_PROJECT_ID, job_id)
        long_ago = func.now() - timedelta(days=31)
        session.execute(update(Job).where(Job.id.in_(ended)).values(finished_at=long_ago))
    return {recent, queued}


@contextmanager
def running_relay(engine: Engine, broker_url: str, job_retention_days: float) -> Iterator[None]:
    """A relay in a thread, which has been once round its loop when the block has ended."""
    settings = PlatformSettings(reap_every_s=0.05, job_retention_days=job_retention_days)
    relay = Relay(engine, make_app(broker_url), settings)
    thread = Thread(target=relay.run)
    thread.start()
    try:
        yield
    finally:
        relay.stop()
        thread.join()


def test_jobs_that_ended_long_ago_are_deleted_batch_by_batch(engine: Engine, valkey_url: str):
    kept = old_and_other_jobs(engine, BATCH + 1)
    with running_relay(engine, valkey_url, job_retention_days=30):
        until(lambda: jobs(engine) == kept, "old jobs are gone, and no others")


def test_without_a_setting_jobs_are_kept_for_ever(engine: Engine, valkey_url: str):
    old_and_other_jobs(engine, 1)
    with running_relay(engine, valkey_url, PlatformSettings().job_retention_days):
        until(lambda: not _unpublished(engine), "the relay has begun its round")
    assert len(jobs(engine)) == 3


def _unpublished(engine: Engine) -> int:
    with transaction(engine) as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0
