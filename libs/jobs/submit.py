"""How jobs come into being: submitted, cloned, or retried by a user. Row, outbox and first event in one transaction."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, bindparam, case, func, insert, literal, select
from sqlalchemy.orm import Session

from libs.database.engine import execute_plainly
from libs.database.tables import Job, JobCheckpoint, JobDependency, JobEvent, Json, Outbox
from libs.jobs import dependencies, moves
from libs.jobs.errors import DependencyNotFound, InvalidMove
from libs.jobs.reports import newest_checkpoint
from libs.jobs.spec import JobSpec
from libs.jobs.states import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as it was submitted: the columns of `Job` that mean something outside of the queue."""

    id: UUID
    project_id: UUID
    name: str
    method: str
    spec: Json
    status: str
    queue: str
    priority: int
    max_attempts: int
    timeout_s: float | None
    group_id: UUID | None
    retry_of: UUID | None
    clone_of: UUID | None
    schedule: str | None
    created_at: datetime
    parent_id: UUID | None = None
    status_reason: str | None = None
    epoch: int = 0
    attempts_used: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float = 0.0
    progress_note: str = ""
    result: Json | None = None
    error: Json | None = None
    last_event_seq: int = 1


def submit(
    session: Session,
    project_id: UUID,
    spec: JobSpec,
    *,
    depends_on: Sequence[UUID] = (),
    group_id: UUID | None = None,
    job_id: UUID | None = None,
    retry_of: UUID | None = None,
    clone_of: UUID | None = None,
    schedule: str | None = None,
) -> NewJob:
    """Put a job into the queue; with dependencies it waits for them first.

    Args:
        schedule: the name of the schedule that asks for it.

    Raises:
        DependencyNotFound: a job of `depends_on` does not exist in this project.
    """
    _check_dependencies(session, project_id, depends_on)
    status = JobStatus.WAITING if depends_on else JobStatus.QUEUED
    row: dict[str, Any] = {
        "id": job_id or uuid4(),
        "project_id": project_id,
        "name": spec.name or default_name(spec),
        "method": spec.method,
        "spec": spec.model_dump(mode="json"),
        "status": status,
        "queue": spec.queue,
        "priority": spec.priority,
        "max_attempts": spec.max_attempts,
        "timeout_s": spec.timeout_s,
        "group_id": group_id,
        "retry_of": retry_of,
        "clone_of": clone_of,
        "schedule": schedule,
    }
    first_event = {"from": None, "to": status, "reason": None, "epoch": 0}
    created_at = execute_plainly(session, _NEW_JOB, {**row, "first_event": first_event}).scalar_one()
    if depends_on:
        return _settled(session, row["id"], depends_on)
    return NewJob(**row, created_at=created_at)


def _new_job() -> Select[datetime]:
    """The row, its first event and, for a job that waits for nothing, its message: one round trip for the three.

    Only its time is read back: reading a row of so many columns would cost as much as all the rest.
    """
    columns = Job.__table__.c
    # Inside of a CTE nobody fills in the defaults of the ORM.
    values: dict[str, Any] = {field.name: field.default for field in fields(NewJob) if field.default is not MISSING}
    given = [field.name for field in fields(NewJob) if field.default is MISSING and field.name != "created_at"]
    values |= {name: bindparam(name, type_=columns[name].type) for name in given}
    values["rung_at"] = case((values["status"] == JobStatus.QUEUED, func.clock_timestamp()))
    job = insert(Job).values(values).returning(columns.id, columns.queue, columns.status, columns.created_at).cte("job")
    event = select(job.c.id, literal(1), literal("status"), bindparam("first_event", type_=JobEvent.data.type))
    message = select(job.c.id, job.c.queue).where(job.c.status == JobStatus.QUEUED)
    return select(job.c.created_at).add_cte(
        insert(JobEvent).from_select(["job_id", "seq", "kind", "data"], event).cte("event"),
        insert(Outbox).from_select(["job_id", "queue"], message).cte("message"),
    )


_NEW_JOB = _new_job()


def _settled(session: Session, job_id: UUID, depends_on: Sequence[UUID]) -> NewJob:
    """A new job that waits, once its dependencies are written; those that have ended may have moved it."""
    session.add_all(JobDependency(job_id=job_id, depends_on=other) for other in set(depends_on))
    session.flush()
    job = session.get_one(Job, job_id)
    dependencies.settle(session, job)
    session.refresh(job)
    return NewJob(**{field.name: getattr(job, field.name) for field in fields(NewJob)})


def default_name(spec: JobSpec) -> str:
    """First data set or model, and method, as in `digits-frskd`."""
    references = [*spec.datasets.values(), *spec.models.values()]
    about = references[0].partition("@")[0] if references else ""
    return f"{about[: 63 - len(spec.method)]}-{spec.method}".lstrip("-")


def clone(session: Session, project_id: UUID, job_id: UUID, spec: JobSpec | None = None) -> NewJob:
    """The same request as a new job, from its beginning; `spec` replaces the stored one.

    Raises:
        JobNotFound: there is no such job.
    """
    old = moves.lock(session, job_id, project_id)
    return submit(session, project_id, spec or JobSpec.model_validate(old.spec), clone_of=old.id)


def retry(session: Session, project_id: UUID, job_id: UUID) -> NewJob:
    """A failed or cancelled job as a new one that goes on from its newest checkpoint.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has not failed and was not cancelled.
    """
    old = moves.lock(session, job_id, project_id)
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        hint = "Only a failed or cancelled job is retried; clone it to run it again."
        raise InvalidMove(old.id, JobStatus(old.status), JobStatus.QUEUED, hint)
    spec = JobSpec.model_validate(old.spec)
    new = submit(session, project_id, spec, retry_of=old.id, group_id=old.group_id)
    checkpoint = newest_checkpoint(session, old.id)
    if checkpoint is not None:
        session.add(JobCheckpoint(job_id=new.id, epoch=0, step=checkpoint.step, artifact_id=checkpoint.artifact.id))
        session.flush()
    return new


def _check_dependencies(session: Session, project_id: UUID, wanted: Sequence[UUID]) -> None:
    """Lock them too, so that none ends unseen before the new job's row is committed."""
    if not wanted:
        return
    found = select(Job.id).where(Job.id.in_(wanted), Job.project_id == project_id)
    ids = set(session.scalars(found.order_by(Job.created_at, Job.id).with_for_update(read=True)))
    missing = [str(job_id) for job_id in wanted if job_id not in ids]
    if missing:
        raise DependencyNotFound(f"There is no job {', '.join(missing)} to depend on.")
