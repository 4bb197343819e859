"""Job requests and jobs for tests of the queue."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import update
from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, Artifact, Job
from libs.jobs.queue import claim, fail
from libs.jobs.reports import record_checkpoint
from libs.jobs.spec import JobSpec, parse_spec
from libs.jobs.states import ExitReason
from libs.jobs.submit import submit

LEASE_S = 30.0


def tiny_spec(**changes: Any) -> JobSpec:
    """A supervised training on a data set called `digits`."""
    return parse_spec({"method": "supervised", "datasets": {"train": "digits"}, **changes})


def submitted(db: Session, depends_on: tuple[UUID, ...] = (), group_id: UUID | None = None, **changes: Any) -> Job:
    """A job that was submitted and committed."""
    new = submit(db, DEFAULT_PROJECT_ID, tiny_spec(**changes), depends_on=depends_on, group_id=group_id)
    db.commit()
    return db.get_one(Job, new.id)


def claimed(db: Session, **changes: Any) -> Job:
    """A job whose attempt 1 runs."""
    job = submitted(db, **changes)
    return claimed_again(db, job)


def claimed_again(db: Session, job: Job) -> Job:
    """The same job, claimed by another worker."""
    found = claim(db, job.id, uuid4(), LEASE_S)
    db.commit()
    assert found is not None
    assert found.id == job.id
    return found


def expire_lease(db: Session, job: Job) -> None:
    """As if the lease had run out."""
    db.execute(update(Job).where(Job.id == job.id).values(lease_expires_at="2000-01-01T00:00:00Z"))
    db.commit()


def failed(db: Session, job: Job | None = None) -> Job:
    """A job that failed for good, or the claimed `job` as one."""
    job = job or claimed(db)
    fail(db, job.id, job.epoch, ExitReason.ERROR, {"message": "broken"}, retryable=False)
    db.commit()
    return job


def failed_with_checkpoint(db: Session) -> Job:
    """A failed job that can be retried from step 4."""
    job = claimed(db)
    file = Artifact(
        id=uuid4(), project_id=job.project_id, job_id=job.id, kind="checkpoint", name="c", uri="file:///c", digest="c",
        size_bytes=1,
    )  # fmt: skip
    record_checkpoint(db, job, 4, file)
    return failed(db, job)
