"""Forgetting old jobs. Models and data sets they made stay; files nobody refers to any more are collected by gc."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, delete, func, or_, select, update
from sqlalchemy.orm import Session

from libs.database.tables import Artifact, Dataset, DatasetVersion, Job, JobCheckpoint, JobDependency
from libs.jobs.errors import JobInUse, JobNotEnded
from libs.jobs.moves import lock, lock_all, lock_free
from libs.jobs.states import TERMINAL, JobStatus

BATCH = 50
"""Jobs deleted in one transaction: their events and metrics may be many rows, and a statement has 30 s."""


def delete_job(session: Session, project_id: UUID, job_id: UUID) -> None:
    """Delete a job that has ended, with its history and artifact rows.

    Raises:
        JobNotFound: there is no such job.
        JobNotEnded: it has not ended.
        JobInUse: it validated a data set that exists, or a job that has not ended needs what it made.
    """
    lock_all(session, {job_id}.union(*_refer_to(session, [job_id]).values()))
    job = lock(session, job_id, project_id)
    if job.status not in TERMINAL:
        raise JobNotEnded(job.id, JobStatus(job.status))
    if (dataset := session.scalar(_validated().where(DatasetVersion.validation_job_id == job.id))) is not None:
        reason = f"validated data set {dataset} and holds its preview. Delete the data set first"
        raise JobInUse(job.id, reason)
    live = select(Job.id).join(JobDependency, JobDependency.job_id == Job.id).where(Job.status.not_in(TERMINAL))
    if (waiting := session.scalar(live.where(JobDependency.depends_on == job.id).limit(1))) is not None:
        raise JobInUse(job.id, f"is needed by job {waiting}, which has not ended. Cancel that first")
    _delete(session, [job.id])


def delete_ended(session: Session, older_than_s: float, limit: int = BATCH) -> int:
    """Delete up to `limit` jobs, of all projects, that ended `older_than_s` ago.

    Kept are those that a live job waits for, and those that validated a data set that exists. Those that somebody else
    writes to just now, or to a job that refers to them, are left for the next time.

    Returns:
        How many; call it again, in a transaction of its own, until there are none.
    """
    before = func.clock_timestamp() - timedelta(seconds=older_than_s)
    live = select(Job.id).where(Job.status.not_in(TERMINAL)).scalar_subquery()
    needed = select(JobDependency).where(JobDependency.depends_on == Job.id, JobDependency.job_id.in_(live)).exists()
    validated = _validated().where(DatasetVersion.validation_job_id == Job.id).exists()
    ended = select(Job.id).where(Job.status.in_(TERMINAL), Job.finished_at < before, ~needed, ~validated)
    oldest = session.scalars(ended.order_by(Job.finished_at).limit(limit)).all()
    free = lock_free(session, oldest, _refer_to(session, oldest))
    ids = session.scalars(ended.where(Job.id.in_(free))).all()  # one may have come to be needed before it was locked
    _delete(session, ids)
    return len(ids)


def _validated() -> Select[str]:
    """Names of data sets, by their versions: a validation job holds the preview, and says why a version is invalid."""
    versions = select(Dataset.name).join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
    return versions.where(Dataset.deleted_at.is_(None))


def _refer_to(session: Session, ids: Sequence[UUID]) -> dict[UUID, set[UUID]]:
    """Job → those that were made for it, and retries and clones of it: their rows are written when it is deleted."""
    references = (Job.parent_id, Job.retry_of, Job.clone_of)
    rows = select(Job.id, *references).where(or_(*(reference.in_(ids) for reference in references)))
    found: dict[UUID, set[UUID]] = {job_id: set() for job_id in ids}
    for other, *named in session.execute(rows):
        for job_id in found.keys() & set(named):
            found[job_id].add(other)
    return found


def _delete(session: Session, ids: Sequence[UUID]) -> None:
    """A checkpoint's artifact row goes with the last job that has it: a retried job goes on from its parent's."""
    session.execute(update(Job).where(Job.parent_id.in_(ids)).values(parent_id=None))
    checkpoints = delete(JobCheckpoint).where(JobCheckpoint.job_id.in_(ids)).returning(JobCheckpoint.artifact_id)
    files = session.scalars(checkpoints).all()
    shared = select(JobCheckpoint).where(JobCheckpoint.artifact_id == Artifact.id).exists()
    theirs = or_(Artifact.job_id.in_(ids), Artifact.id.in_(files))
    session.execute(delete(Artifact).where(theirs, ~shared))
    session.execute(delete(Job).where(Job.id.in_(ids)))
