"""Submitting again, paging, groups, retention, workers."""

from uuid import uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, Job, JobCheckpoint, Worker
from libs.jobs import listing, queue, reports, retention, workers
from libs.jobs.errors import GroupNotFound, InvalidMove, JobNotFound
from libs.jobs.listing import Filter, Position
from libs.jobs.states import ExitReason
from libs.jobs.submit import clone, default_name, retry
from tests.support.specs import claimed, submitted, tiny_spec


def failed(db: Session) -> Job:
    return queue.fail(db, claimed(db).id, 1, ExitReason.ERROR, {"message": "broken"}, retryable=False)


def with_checkpoint(db: Session) -> Job:
    job = claimed(db)
    file = Artifact(
        id=uuid4(), project_id=job.project_id, job_id=job.id, kind="checkpoint", name="c", uri="file:///c", digest="c",
        size_bytes=1,
    )  # fmt: skip
    reports.record_checkpoint(db, job, 4, file)
    queue.fail(db, job.id, 1, ExitReason.ERROR, {"message": "broken"}, retryable=False)
    db.commit()
    return job


def test_stored_spec_is_complete_and_the_name_says_what_it_is(db: Session):
    job = submitted(db)
    assert job.name == "digits-supervised"
    assert job.spec["config"]["momentum"] == 0.9
    assert len(default_name(tiny_spec(datasets={"train": "d" * 64}))) <= 64


def test_retry_goes_on_from_the_checkpoint_and_clone_begins_anew(db: Session):
    job = with_checkpoint(db)
    again, copy = retry(db, DEFAULT_PROJECT_ID, job.id), clone(db, DEFAULT_PROJECT_ID, job.id)
    assert (again.retry_of, again.clone_of, copy.retry_of, copy.clone_of) == (job.id, None, None, job.id)
    assert again.spec == copy.spec == job.spec
    assert reports.newest_checkpoint(db, again.id).step == 4
    assert reports.newest_checkpoint(db, copy.id) is None


def test_only_a_job_that_failed_or_was_cancelled_is_retried(db: Session):
    broken = failed(db)
    with pytest.raises(JobNotFound):
        retry(db, uuid4(), broken.id)
    queued = submitted(db)
    with pytest.raises(InvalidMove, match="clone it"):
        retry(db, DEFAULT_PROJECT_ID, queued.id)


def test_pages_show_every_job_once_newest_first(db: Session):
    jobs = [submitted(db).id for _ in range(7)]
    same = db.scalar(select(func.clock_timestamp()))
    db.execute(update(Job).where(Job.id.in_(jobs[:4])).values(created_at=same))  # the id decides between them
    seen: list[Job] = []
    behind = None
    while found := listing.page(db, DEFAULT_PROJECT_ID, limit=2, behind=behind):
        seen += found
        behind = Position(found[-1].created_at, found[-1].id)
    assert sorted(job.id for job in seen) == sorted(jobs)
    assert seen == sorted(seen, key=lambda job: (job.created_at, job.id), reverse=True)
    assert listing.page(db, uuid4()) == []


def test_filters_narrow_a_page(db: Session):
    group = uuid4()
    plain, member = submitted(db), submitted(db, group_id=group, name="mine")
    for only in (Filter(group_id=group), Filter(name="mine")):
        assert listing.page(db, DEFAULT_PROJECT_ID, only=only) == [member]
    assert listing.page(db, DEFAULT_PROJECT_ID, only=Filter(status=["queued"], method="supervised")) == [member, plain]
    assert listing.page(db, DEFAULT_PROJECT_ID, only=Filter(status=[])) == []
    assert listing.group(db, DEFAULT_PROJECT_ID, group) == [member]
    with pytest.raises(GroupNotFound):
        listing.group(db, uuid4(), group)


def test_ended_job_is_deleted_and_a_checkpoint_a_retry_needs_stays(db: Session):
    job = with_checkpoint(db)
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    with pytest.raises(InvalidMove, match="Cancel it first"):
        retention.delete_job(db, DEFAULT_PROJECT_ID, again.id)
    retention.delete_job(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    db.expire_all()
    with pytest.raises(JobNotFound):
        listing.find(db, DEFAULT_PROJECT_ID, job.id)
    assert db.scalars(select(JobCheckpoint.job_id)).all() == [again.id]
    assert (again.retry_of, reports.newest_checkpoint(db, again.id).step) == (None, 4)


def test_retention_takes_old_ended_jobs_only(db: Session):
    old, recent, live = failed(db), failed(db), submitted(db)
    db.execute(update(Job).where(Job.id == old.id).values(finished_at="2000-01-01T00:00:00Z"))
    assert retention.delete_ended(db, older_than_s=3600) == 1
    assert set(db.scalars(select(Job.id))) == {recent.id, live.id}


def test_worker_is_alive_while_it_reports(db: Session):
    worker_id = uuid4()
    row = {"host": "h", "pid": 1, "version": "1", "queues": ["cpu"], "devices": {"gpus": []}, "slots": 1}
    workers.report(db, worker_id, **row)
    workers.report(db, worker_id, **row)
    assert [worker.id for worker in workers.alive(db, 60)] == [worker_id]
    db.execute(update(Worker).values(heartbeat_at="2000-01-01T00:00:00Z"))
    assert workers.alive(db, 60) == []
    workers.report(db, worker_id, **row)
    assert workers.forget_silent(db, 60) == 0
    workers.unregister(db, worker_id)
    assert workers.alive(db, 60) == []
