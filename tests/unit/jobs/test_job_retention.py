"""Deleting jobs that have ended, one by one and by age."""

from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, Job, JobCheckpoint
from libs.jobs import reports, retention
from libs.jobs.errors import JobInUse, JobNotEnded, JobNotFound
from libs.jobs.queue import succeed
from libs.jobs.submit import retry
from libs.jobs.wishes import cancel
from libs.registry.datasets import create_version, delete_dataset, mark_uploaded
from tests.support.specs import claimed, failed, failed_with_checkpoint, submitted


def end_long_ago(db: Session, job: Job) -> None:
    db.execute(update(Job).where(Job.id == job.id).values(finished_at="2000-01-01T00:00:00Z"))


def test_an_ended_job_is_deleted_and_a_checkpoint_that_a_retry_needs_stays(db: Session):
    job = failed_with_checkpoint(db)
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    retention.delete_job(db, DEFAULT_PROJECT_ID, job.id)
    db.commit()
    db.expire_all()
    assert db.scalars(select(Job.id)).all() == [again.id]
    assert db.scalars(select(JobCheckpoint.job_id)).all() == [again.id]
    assert db.get_one(Job, again.id).retry_of is None
    assert reports.newest_checkpoint(db, again.id).step == 4


@pytest.mark.parametrize("first_deleted", ["job", "its retry"])
def test_a_checkpoint_goes_with_the_last_job_that_has_it(db: Session, first_deleted: str):
    job = failed_with_checkpoint(db)
    again = retry(db, DEFAULT_PROJECT_ID, job.id)
    cancel(db, DEFAULT_PROJECT_ID, again.id)
    pair = [job.id, again.id] if first_deleted == "job" else [again.id, job.id]
    retention.delete_job(db, DEFAULT_PROJECT_ID, pair[0])
    assert len(db.scalars(select(Artifact.id)).all()) == 1
    retention.delete_job(db, DEFAULT_PROJECT_ID, pair[1])
    assert db.scalars(select(Artifact.id)).all() == []


def test_a_job_that_lives_or_belongs_to_another_project_is_not_deleted(db: Session):
    running, ended, queued = claimed(db), failed(db), submitted(db)
    for live in (queued, running):
        with pytest.raises(JobNotEnded, match="Cancel it first"):
            retention.delete_job(db, DEFAULT_PROJECT_ID, live.id)
    with pytest.raises(JobNotFound):
        retention.delete_job(db, uuid4(), ended.id)
    assert set(db.scalars(select(Job.id))) == {queued.id, running.id, ended.id}


def test_jobs_that_ended_long_ago_are_deleted_oldest_first_and_others_stay(db: Session):
    old, older, recent, live = failed(db), failed(db), failed(db), submitted(db)
    end_long_ago(db, old)
    db.execute(update(Job).where(Job.id == older.id).values(finished_at="1999-01-01T00:00:00Z"))
    assert retention.delete_ended(db, older_than_s=3600, limit=1) == 1
    assert set(db.scalars(select(Job.id))) == {old.id, recent.id, live.id}
    assert retention.delete_ended(db, older_than_s=3600) == 1
    assert retention.delete_ended(db, older_than_s=3600) == 0
    assert set(db.scalars(select(Job.id))) == {recent.id, live.id}


def test_the_job_that_validated_a_data_set_goes_after_the_data_set(db: Session):
    job = failed(db)
    end_long_ago(db, job)
    version = create_version(db, DEFAULT_PROJECT_ID, "cats", {"upload": "cats.zip"})
    mark_uploaded(db, version.id, "file:///cats.zip", 1, job.id)
    with pytest.raises(JobInUse, match="validated data set cats"):
        retention.delete_job(db, DEFAULT_PROJECT_ID, job.id)
    assert retention.delete_ended(db, older_than_s=3600) == 0
    delete_dataset(db, DEFAULT_PROJECT_ID, "cats")
    assert retention.delete_ended(db, older_than_s=3600) == 1


def test_an_old_job_that_a_live_one_waits_for_is_kept(db: Session):
    old = claimed(db)
    waiting = submitted(db, depends_on=(old.id, submitted(db).id))
    succeed(db, old.id, 1, {})
    end_long_ago(db, old)
    assert retention.delete_ended(db, older_than_s=3600) == 0
    cancel(db, DEFAULT_PROJECT_ID, waiting.id)
    assert retention.delete_ended(db, older_than_s=3600) == 1
