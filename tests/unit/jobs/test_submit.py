"""Submitting, and submitting again."""

from dataclasses import asdict
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Job
from libs.jobs import reports
from libs.jobs.errors import InvalidMove, JobNotFound
from libs.jobs.submit import clone, default_name, retry, submit
from tests.support.specs import failed, failed_with_checkpoint, submitted, tiny_spec


def test_stored_spec_is_complete_and_the_name_says_what_it_is(db: Session):
    job = submitted(db)
    assert job.name == "digits-supervised"
    assert job.spec["config"]["momentum"] == 0.9
    assert len(default_name(tiny_spec(datasets={"train": "d" * 64}))) <= 64


@pytest.mark.parametrize("waits", [False, True])
def test_what_is_answered_is_what_is_stored(db: Session, waits: bool):
    others = (submitted(db).id,) if waits else ()
    new = submit(db, DEFAULT_PROJECT_ID, tiny_spec(timeout_s=60, priority=3), depends_on=others, group_id=uuid4())
    db.expire_all()
    stored = db.get_one(Job, new.id)
    assert asdict(new) == {name: getattr(stored, name) for name in asdict(new)}
    assert stored.status == ("waiting" if waits else "queued")
    assert {column.name for column in Job.__table__.c if not column.nullable} <= asdict(new).keys()


def test_retry_goes_on_from_the_checkpoint_and_clone_begins_anew(db: Session):
    job = failed_with_checkpoint(db)
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
