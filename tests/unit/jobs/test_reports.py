"""Metrics, checkpoints and events of attempts."""

import math
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from sqlalchemy import Engine, event, insert, select
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import Artifact, Job, JobCheckpoint, JobMetric, Project
from libs.jobs import events, queue, reports
from libs.jobs.moves import lock, lock_attempt
from libs.jobs.reports import MetricPoint
from tests.support.specs import claimed, claimed_again, submitted


def values(db: Session, job: Job) -> dict[tuple[str, int], tuple[int, float]]:
    rows = db.scalars(select(JobMetric).where(JobMetric.job_id == job.id).execution_options(populate_existing=True))
    return {(row.name, row.step): (row.epoch, row.value) for row in rows}


def test_later_attempt_wins_and_the_last_value_of_a_batch_counts(db: Session):
    job = claimed(db)
    reports.record_metrics(
        db, job, [MetricPoint("loss", 1, 5.0), MetricPoint("loss", 2, 4.0), MetricPoint("loss", 2, 3.0)]
    )
    queue.stop(db, job.id, 1)
    db.commit()
    job = claimed_again(db, job)
    reports.record_metrics(db, job, [MetricPoint("loss", 2, 2.5), MetricPoint("loss", 3, math.nan)])
    db.commit()
    found = values(db, job)
    assert found[("loss", 1)] == (1, 5.0)
    assert found[("loss", 2)] == (2, 2.5)
    assert math.isnan(found[("loss", 3)][1])
    job.epoch = 1  # an older attempt that writes late
    reports.record_metrics(db, job, [MetricPoint("loss", 2, 99.0)])
    assert values(db, job)[("loss", 2)] == (2, 2.5)


def test_batch_of_nothing_and_a_large_one(db: Session):
    job = claimed(db)
    reports.record_metrics(db, job, [])
    reports.record_metrics(db, job, [MetricPoint("loss", step, 1.0 / step) for step in range(1, 5001)])
    assert len(values(db, job)) == 5000


def artifact(job: Job, name: str) -> Artifact:
    return Artifact(
        id=uuid4(), project_id=job.project_id, job_id=job.id, kind="checkpoint", name=name, uri=f"file:///{name}",
        digest=name, size_bytes=1,
    )  # fmt: skip


def test_newest_checkpoints_are_kept_and_older_files_are_handed_back(db: Session):
    job = claimed(db)
    removed = [reports.record_checkpoint(db, job, step, artifact(job, f"step-{step}")) for step in (1, 2, 3)]
    db.commit()
    assert [[each.uri for each in batch] for batch in removed] == [[], [], ["file:///step-1"]]
    newest = reports.newest_checkpoint(db, job.id)
    assert (newest.epoch, newest.step, newest.artifact.name) == (1, 3, "step-3")
    queue.stop(db, job.id, 1)
    db.commit()
    job = claimed_again(db, job)
    reports.record_checkpoint(db, job, 1, artifact(job, "after a restart from scratch"))
    assert reports.newest_checkpoint(db, job.id).step == 1


def test_file_that_another_job_goes_on_from_is_not_handed_back(db: Session):
    job, other = claimed(db), submitted(db)
    reports.record_checkpoint(db, job, 1, artifact(job, "shared"))
    shared = reports.newest_checkpoint(db, job.id).artifact
    db.add(JobCheckpoint(job_id=other.id, epoch=0, step=1, artifact_id=shared.id))
    for step in (2, 3):
        assert reports.record_checkpoint(db, job, step, artifact(job, f"step-{step}")) == []
    assert reports.newest_checkpoint(db, other.id).artifact.id == shared.id


def test_events_of_many_writers_have_no_gap(engine: Engine, db: Session):
    job = submitted(db)

    def write(number: int) -> None:
        with transaction(engine) as session:
            events.append(session, lock(session, job.id), [("log", {"n": number}), ("log", {"n": -number})])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(write, range(25)))
    found = events.after(db, job.id, 1)
    assert [event.seq for event in found] == list(range(2, 52))
    assert [event.data["n"] for event in found[::2]] == [-event.data["n"] for event in found[1::2]]
    assert [event.seq for event in events.after(db, job.id, 48, limit=2)] == [49, 50]


def test_rolled_back_events_leave_no_gap(db: Session):
    job = claimed(db)
    events.append(db, lock_attempt(db, job.id, 1), [("log", {})])
    db.rollback()
    assert events.append(db, lock_attempt(db, job.id, 1), [("log", {})]) == 3
    assert events.append(db, job, []) == 3


def test_no_write_of_an_attempt_is_a_pipeline(engine: Engine, db: Session):
    """A client frozen within a pipeline keeps its locks: none of Postgres's timeouts ends it there."""
    job = claimed(db)
    pipelines: list[str] = []

    @event.listens_for(engine, "do_executemany")
    def note(cursor, statement, parameters, context) -> None:
        pipelines.append(statement)

    db.execute(insert(Project), [{"name": "one"}, {"name": "two"}])
    assert len(pipelines) == 1, "the listener sees pipelines"
    running = lock_attempt(db, job.id, 1)
    reports.record_metrics(db, running, [MetricPoint("loss", step, 1.0) for step in range(3000)])
    events.append(db, running, [("log", {"n": n}) for n in range(3000)])
    db.add_all(artifact(running, f"file-{n}") for n in range(5))
    for step in (1, 2, 3):
        reports.record_checkpoint(db, running, step, artifact(running, f"step-{step}"))
    queue.succeed(db, job.id, 1, {})
    db.commit()
    assert len(pipelines) == 1
    assert [e.seq for e in events.after(db, job.id, 0, limit=5000)] == list(range(1, job.last_event_seq + 1))
