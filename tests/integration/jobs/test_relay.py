"""The relay's loop beside a real Postgres and Valkey: what is old is forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Thread
from uuid import UUID, uuid4

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import (
    DEFAULT_PROJECT_ID,
    IdempotencyKey,
    Job,
    Outbox,
    Recommendation,
    ScheduleRun,
    UserEvent,
)
from libs.jobs.retention import BATCH
from libs.jobs.submit import submit
from libs.jobs.wishes import cancel
from libs.settings import PlatformSettings
from services.recommender.explanations import repository as explanations
from services.worker.celery_app import make_app
from services.worker.relay import Relay
from tests.support.datasets import add_dataset
from tests.support.memory import record_json
from tests.support.schedules import make_due, scheduled
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
def running_relay(engine: Engine, broker_url: str, **retention_days: float) -> Iterator[None]:
    """A relay in a thread, which has been once round its loop when the block has ended."""
    settings = PlatformSettings(reap_every_s=0.05, **retention_days)
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
    with running_relay(engine, valkey_url):
        until(lambda: not _unpublished(engine), "the relay has begun its round")
    assert len(jobs(engine)) == 3


def test_what_users_did_and_what_was_recommended_is_forgotten_each_by_its_setting(engine: Engine, valkey_url: str):
    with transaction(engine) as session:
        for days_ago in (400, 1):
            at = datetime.now(UTC) - timedelta(days=days_ago)
            explanations.insert(session, [record_json([f"{days_ago}"], created_at=at)])
            event = {"item_id": f"{days_ago}", "user_id": "u", "type": "view", "occurred_at": at, "received_at": at}
            session.add(UserEvent(project_id=DEFAULT_PROJECT_ID, event_key=uuid4(), **event))
            answer = {"request_digest": "", "status_code": 202, "response": {}, "headers": {}, "created_at": at}
            session.add(IdempotencyKey(project_id=DEFAULT_PROJECT_ID, key=f"{days_ago}", **answer))
            session.flush()
    with running_relay(engine, valkey_url):
        until(lambda: _recommended(engine) == ["1"], "old recommendations are gone")
        until(lambda: _answered(engine) == ["1"], "old answers are gone")
    with transaction(engine) as session:
        assert set(session.scalars(select(UserEvent.item_id))) == {"400", "1"}
    with running_relay(engine, valkey_url, event_retention_days=30):
        until(lambda: _events(engine) == ["1"], "old events are gone")


def test_two_relays_fire_what_is_due_once_and_publish_its_job(engine: Engine, db: Session, valkey_url: str):
    add_dataset(db, "digits")
    names = [f"s{n}" for n in range(6)]
    for name in names:
        scheduled(db, name)
    with running_relay(engine, valkey_url), running_relay(engine, valkey_url):
        for name in names:
            make_due(db, name)
        until(lambda: len(jobs(engine)) == len(names), "each schedule has its job")
        until(lambda: not _unpublished(engine), "the jobs are on the broker")
    with transaction(engine) as session:
        assert set(session.scalars(select(ScheduleRun.outcome))) == {"submitted"}
        assert session.scalar(select(func.count()).select_from(ScheduleRun)) == len(names)
        origins = session.scalars(select(Job.request_id)).all()
    assert len(jobs(engine)) == len(names)
    assert None not in origins
    assert len(set(origins)) == len(names)


def _recommended(engine: Engine) -> list[str]:
    with transaction(engine) as session:
        return [row[0]["item_id"] for row in session.scalars(select(Recommendation.items))]


def _answered(engine: Engine) -> list[str]:
    with transaction(engine) as session:
        return list(session.scalars(select(IdempotencyKey.key)))


def _events(engine: Engine) -> list[str]:
    with transaction(engine) as session:
        return list(session.scalars(select(UserEvent.item_id)))


def _unpublished(engine: Engine) -> int:
    with transaction(engine) as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0
