"""A worker that is frozen past its lease: it wakes up, finds its epoch gone, and can write nothing."""

from sqlalchemy import select

from libs.database.engine import transaction
from libs.database.tables import Artifact, JobCheckpoint, JobMetric
from tests.support.platform import Platform, assert_ended_once, scripted_training
from tests.support.waiting import until


def rows(octavo: Platform, job_id) -> list[object]:
    """Everything a worker could have written for the job."""
    with transaction(octavo.engine) as session:
        tables = (JobMetric, JobCheckpoint, Artifact)
        written = [session.scalars(select(table).where(table.job_id == job_id)).all() for table in tables]
        return [
            [
                (
                    type(row).__name__,
                    str(row.__dict__.get("uri")),
                    row.created_at if hasattr(row, "created_at") else row.at,
                )
                for row in kind
            ]
            for kind in written
        ]


def test_frozen_worker_writes_nothing_after_it_lost_its_lease(octavo: Platform):
    octavo.start_relay()
    octavo.start_scripted_worker("frozen")
    octavo.allow(2)
    job_id = octavo.submit(scripted_training())
    octavo.wait_for_step(job_id, 2)
    octavo.freeze("frozen")
    octavo.start_scripted_worker("worker")
    until(lambda: octavo.job(job_id).epoch == 2, "another worker took over")
    octavo.allow(6)  # the frozen worker's child runs to its end, too
    octavo.wait_for(job_id, "succeeded")
    before = rows(octavo, job_id), octavo.job(job_id).last_event_seq
    octavo.thaw("frozen")
    until(lambda: "attempt_abandoned" in octavo.log("frozen"), "the worker noticed")
    assert (rows(octavo, job_id), octavo.job(job_id).last_event_seq) == before
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["worker_lost", "ok"]
    assert_ended_once(octavo, job_id)


def test_woken_worker_stops_its_child_and_takes_the_next_job(octavo: Platform):
    octavo.start_relay()
    octavo.start_scripted_worker("frozen")
    octavo.allow(2)
    job_id = octavo.submit(scripted_training())
    octavo.wait_for_step(job_id, 2)
    octavo.freeze("frozen")
    until(lambda: octavo.job(job_id).status == "queued", "its lease ran out")
    octavo.thaw("frozen")
    octavo.allow(6)
    octavo.wait_for(job_id, "succeeded")
    assert [attempt.exit_reason for attempt in octavo.attempts(job_id)] == ["worker_lost", "ok"]
    assert_ended_once(octavo, job_id)
