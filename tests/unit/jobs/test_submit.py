"""Submitting, and submitting again."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID
from libs.jobs import reports
from libs.jobs.errors import InvalidMove, JobNotFound
from libs.jobs.submit import clone, default_name, retry
from tests.support.specs import failed, failed_with_checkpoint, submitted, tiny_spec


def test_stored_spec_is_complete_and_the_name_says_what_it_is(db: Session):
    job = submitted(db)
    assert job.name == "digits-supervised"
    assert job.spec["config"]["momentum"] == 0.9
    assert len(default_name(tiny_spec(datasets={"train": "d" * 64}))) <= 64


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
