"""How the queue stands: every figure, and that none of it reads more than its own few rows."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Job, Outbox, Worker
from libs.jobs import figures, wishes, workers
from libs.jobs.figures import queue_figures
from tests.support.schedules import make_due, scheduled
from tests.support.specs import claimed, expire_lease, failed, submitted

pytestmark = pytest.mark.every_postgres
LEASE_S = 30.0
QUEUES = ("cpu", "gpu", "short")


def report(db: Session, *queues: str, silent_s: float = 0.0) -> None:
    worker_id = uuid4()
    workers.report(db, worker_id, host="h", pid=1, version="0", queues=queues, devices={}, slots=2)
    heard = func.clock_timestamp() - timedelta(seconds=silent_s)
    db.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=heard))
    db.commit()


def test_an_empty_platform_has_figures_of_nothing(db: Session):
    found = queue_figures(db, LEASE_S, QUEUES)
    assert found == figures.QueueFigures()


def test_every_figure(db: Session):
    failed(db)  # ended jobs are in no figure
    lost, running = claimed(db), claimed(db)
    paused, queued = submitted(db), submitted(db, resources={"queue": "gpu"})
    submitted(db, depends_on=(running.id,))
    wishes.pause(db, DEFAULT_PROJECT_ID, paused.id)
    expire_lease(db, lost)
    long_ago = func.clock_timestamp() - timedelta(seconds=500)
    db.execute(update(Job).where(Job.id == queued.id).values(queued_at=long_ago))
    db.execute(update(Outbox).where(Outbox.job_id == queued.id).values(created_at=long_ago))
    db.commit()
    report(db, "cpu", "short")
    report(db, "cpu")
    report(db, "gpu", silent_s=100)
    found = queue_figures(db, LEASE_S, QUEUES)
    assert found.jobs == {
        ("starting", "cpu"): 2, ("paused", "cpu"): 1, ("queued", "gpu"): 1, ("waiting", "cpu"): 1,
    }  # fmt: skip
    assert 500 <= found.oldest_queued_s["gpu"] < 1000
    assert found.overdue_leases == 1
    assert found.outbox == 5
    assert 500 <= found.outbox_oldest_s < 1000
    assert found.workers == {"cpu": 2, "short": 1}
    assert found.slots == {"cpu": 4, "short": 2}
    assert found.silent_workers == 1
    assert 100 <= found.heartbeat_oldest_s < 500


def test_a_job_that_a_gateway_of_before_queued_has_no_age(db: Session):
    job = submitted(db)
    db.execute(update(Job).where(Job.id == job.id).values(queued_at=None))
    db.commit()
    assert queue_figures(db, LEASE_S, QUEUES).oldest_queued_s == {"cpu": 0.0}


def test_a_long_queue_hides_no_other(db: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "MOST_ROWS", 2)
    for queue in ("cpu", "cpu", "cpu", "gpu"):
        submitted(db, resources={"queue": queue})
    for queue in ("cpu", "cpu", "cpu", "gpu"):
        wishes.pause(db, DEFAULT_PROJECT_ID, submitted(db, resources={"queue": queue}).id)
    db.commit()
    found = queue_figures(db, LEASE_S, QUEUES)
    assert found.jobs == {
        (status, queue): n for status in ("queued", "paused") for queue, n in (("cpu", 2), ("gpu", 1))
    }
    assert found.oldest_queued_s.keys() == {"cpu", "gpu"}


def test_a_schedule_that_is_late_is_seen(db: Session):
    from tests.support.datasets import add_dataset

    add_dataset(db, "digits")
    scheduled(db, "nightly")
    assert queue_figures(db, LEASE_S, QUEUES).schedules_overdue_s == 0
    make_due(db, "nightly")
    assert queue_figures(db, LEASE_S, QUEUES).schedules_overdue_s > 0


def test_jobs_are_never_read_but_by_an_index_of_those_that_have_not_ended(db: Session):
    submitted(db)
    db.execute(text("SET LOCAL enable_seqscan = off"))
    asked = {"lease_s": LEASE_S, "queues": list(QUEUES), "most": 10}
    plan = "\n".join(db.scalars(text(f"EXPLAIN {figures._STATEMENT.text}"), asked))
    assert "Seq Scan on jobs" not in plan
    assert {name for name in ("ix_jobs_queued", "ix_jobs_leased", "ix_jobs_open") if name in plan} == {
        "ix_jobs_queued", "ix_jobs_leased", "ix_jobs_open",
    }  # fmt: skip
