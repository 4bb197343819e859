"""What attempts leave behind: their history, metrics, checkpoints. All writes are of a locked attempt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from libs.database.tables import Artifact, Job, JobAttempt, JobCheckpoint, JobMetric
from libs.jobs import events

KEPT_CHECKPOINTS = 2
"""The newest checkpoints of a job that are kept: one in use, one before it."""


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value; `step` is the optimiser step."""

    name: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published checkpoint and the file it is."""

    epoch: int
    step: int
    artifact: Artifact


def record_metrics(session: Session, job: Job, points: Iterable[MetricPoint]) -> None:
    """Write values of the locked job's running attempt; for a step that has one, the later attempt's stands."""
    latest = {(point.name, point.step): point.value for point in points}
    if not latest:
        return
    rows = [
        {"job_id": job.id, "name": name, "step": step, "epoch": job.epoch, "value": value}
        for (name, step), value in latest.items()
    ]
    for chunk in events.chunks(rows):
        write = insert(JobMetric).values(chunk)
        newer = {"epoch": write.excluded.epoch, "value": write.excluded.value, "at": func.clock_timestamp()}
        where = write.excluded.epoch >= JobMetric.epoch
        session.execute(write.on_conflict_do_update(index_elements=["job_id", "name", "step"], set_=newer, where=where))


def attempts(session: Session, job_id: UUID) -> Sequence[JobAttempt]:
    """A job's attempts, oldest first."""
    return session.scalars(select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.epoch)).all()


def record_checkpoint(session: Session, job: Job, step: int, artifact: Artifact) -> list[Artifact]:
    """Publish a stored file as the checkpoint of `step` of the locked job's running attempt.

    Returns:
        Artifacts of older checkpoints, whose rows are gone: their files may be deleted once this is committed.
    """
    session.add(artifact)
    session.flush()
    session.merge(JobCheckpoint(job_id=job.id, epoch=job.epoch, step=step, artifact_id=artifact.id))
    session.flush()
    data = {"step": step, "epoch": job.epoch, "digest": artifact.digest, "size_bytes": artifact.size_bytes}
    events.append(session, job, [("checkpoint", data)])
    return _forget_older(session, job.id)


def newest_checkpoint(session: Session, job_id: UUID) -> Checkpoint | None:
    """Where the next attempt begins: the newest attempt's last checkpoint."""
    found = session.execute(_checkpoints(job_id).limit(1)).first()
    return Checkpoint(found[0].epoch, found[0].step, found[1]) if found else None


def _checkpoints(job_id: UUID) -> Select[JobCheckpoint, Artifact]:
    both = select(JobCheckpoint, Artifact).join(Artifact, Artifact.id == JobCheckpoint.artifact_id)
    return both.where(JobCheckpoint.job_id == job_id).order_by(JobCheckpoint.epoch.desc(), JobCheckpoint.step.desc())


def _forget_older(session: Session, job_id: UUID) -> list[Artifact]:
    removed = []
    for checkpoint, artifact in session.execute(_checkpoints(job_id).offset(KEPT_CHECKPOINTS)).all():
        session.delete(checkpoint)
        session.flush()
        if not _is_used(session, artifact):
            session.delete(artifact)
            removed.append(artifact)
    session.flush()
    return removed


def _is_used(session: Session, artifact: Artifact) -> bool:
    """Whether another checkpoint (of a retried job, say) or another artifact has the same file."""
    by_checkpoint = select(JobCheckpoint).where(JobCheckpoint.artifact_id == artifact.id)
    by_artifact = select(Artifact).where(Artifact.uri == artifact.uri, Artifact.id != artifact.id)
    return bool(session.scalar(select(by_checkpoint.exists() | by_artifact.exists())))
