"""How jobs come into being: accepted, cloned, or retried by a user. Row, outbox and first event in one transaction.

What a job needs first is written before it, in the same transaction: jobs it waits for are always older than it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, bindparam, case, func, insert, literal, select, update
from sqlalchemy.orm import Session

from libs.database.engine import execute_plainly
from libs.database.tables import Job, JobCheckpoint, JobDependency, JobEvent, Json, Outbox
from libs.jobs import counts, dependencies, moves
from libs.jobs.dependencies import RUNS
from libs.jobs.errors import DependencyNotFound, InvalidMove, JobNotFound
from libs.jobs.plan import TEACHER, Planned, default_name, plan
from libs.jobs.references import Upcoming
from libs.jobs.reports import newest_checkpoint
from libs.jobs.spec import JobSpec
from libs.jobs.states import TERMINAL, JobStatus
from libs.jobs.teacher import TeacherPlan
from libs.models.compare_config import CompareConfig
from libs.origin import current_origin
from libs.registry import models
from libs.registry.errors import RegistryError


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
    request_id: str | None
    traceparent: str | None
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


def accept(
    session: Session,
    project_id: UUID,
    spec: JobSpec,
    *,
    upcoming: Upcoming | None = None,
    depends_on: Sequence[UUID] = (),
    group_id: UUID | None = None,
    clone_of: UUID | None = None,
    schedule: str | None = None,
) -> NewJob:
    """Pin a request and submit it, with the jobs it needs first.

    Args:
        upcoming: see `libs.jobs.references.pin`.
        depends_on: what all of them come after.
        schedule: the name of the schedule that asks for them.

    Raises:
        RequestRefused: a reference means nothing usable, or teacher, baselines and data do not fit each other.
        DependencyNotFound: a job of `depends_on` does not exist in this project.
    """
    whole = plan(session, project_id, spec, upcoming)
    return submit_planned(
        session, project_id, whole, depends_on=depends_on, group_id=group_id, clone_of=clone_of, schedule=schedule
    )


def submit_planned(
    session: Session,
    project_id: UUID,
    whole: Planned,
    *,
    depends_on: Sequence[UUID] = (),
    group_id: UUID | None = None,
    clone_of: UUID | None = None,
    schedule: str | None = None,
) -> NewJob:
    """Submit a planned job after those it needs; arguments as of `accept`.

    Raises:
        DependencyNotFound: a job of `depends_on` does not exist in this project.
    """
    root, ids = uuid4(), dict[Planned, UUID]()
    for one in whole.first_to_last():
        ids[one] = root if one is whole else uuid4()
        new = submit(
            session,
            project_id,
            one.spec,
            depends_on=depends_on,
            needs={role: ids[other] for role, other in one.needs.items()},
            group_id=group_id if one is whole else _group_of(whole, root),
            job_id=ids[one],
            clone_of=clone_of if one is whole else None,
            schedule=schedule,
        )
    _adopt(session, root, [job_id for job_id in ids.values() if job_id != root])
    return new


def _group_of(whole: Planned, root: UUID) -> UUID | None:
    """The runs of a comparison are a group too: one table shows them."""
    return root if isinstance(whole.spec.config, CompareConfig) else None


def _adopt(session: Session, parent: UUID, children: Sequence[UUID]) -> None:
    """Note whom jobs were made for. The parent's row is the youngest, so this comes last."""
    if children:
        session.execute(update(Job).where(Job.id.in_(children)).values(parent_id=parent))


def submit(
    session: Session,
    project_id: UUID,
    spec: JobSpec,
    *,
    depends_on: Sequence[UUID] = (),
    needs: Mapping[str, UUID] | None = None,
    group_id: UUID | None = None,
    job_id: UUID | None = None,
    retry_of: UUID | None = None,
    clone_of: UUID | None = None,
    schedule: str | None = None,
) -> NewJob:
    """Put one job into the queue; with dependencies it waits for them first. It keeps the origin of this work.

    Args:
        spec: pinned, apart from the roles in `needs`.
        needs: role → the job whose model takes it (`JobDependency.role`).
        schedule: the name of the schedule that asks for it.

    Raises:
        DependencyNotFound: a job that it should wait for does not exist in this project.
    """
    roles = {**dict.fromkeys(depends_on), **{other: role for role, other in (needs or {}).items()}}
    _check_dependencies(session, project_id, list(roles))
    status = JobStatus.WAITING if roles else JobStatus.QUEUED
    origin = current_origin()
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
        "request_id": origin.request_id or None,
        "traceparent": origin.traceparent,
    }
    first_event = {"from": None, "to": status, "reason": None, "epoch": 0}
    created_at = execute_plainly(session, _NEW_JOB, {**row, "first_event": first_event}).scalar_one()
    counts.submitted(session, spec.method)
    if roles:
        return _settled(session, row["id"], roles)
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
    values["rung_at"] = values["queued_at"] = case((values["status"] == JobStatus.QUEUED, func.clock_timestamp()))
    job = insert(Job).values(values).returning(columns.id, columns.queue, columns.status, columns.created_at).cte("job")
    event = select(job.c.id, literal(1), literal("status"), bindparam("first_event", type_=JobEvent.data.type))
    message = select(job.c.id, job.c.queue).where(job.c.status == JobStatus.QUEUED)
    return select(job.c.created_at).add_cte(
        insert(JobEvent).from_select(["job_id", "seq", "kind", "data"], event).cte("event"),
        insert(Outbox).from_select(["job_id", "queue"], message).cte("message"),
    )


_NEW_JOB = _new_job()


def _settled(session: Session, job_id: UUID, roles: Mapping[UUID, str | None]) -> NewJob:
    """A new job that waits, once its dependencies are written; those that have ended may have moved it."""
    session.add_all(JobDependency(job_id=job_id, depends_on=other, role=role) for other, role in roles.items())
    session.flush()
    job = session.get_one(Job, job_id)
    dependencies.settle(session, job)
    session.refresh(job)
    return NewJob(**{field.name: getattr(job, field.name) for field in fields(NewJob)})


def clone(session: Session, project_id: UUID, job_id: UUID) -> NewJob:
    """The same request as a new job, from its beginning.

    A teacher that was made for the old job is used again; one that is not there yet, and runs, are made anew.

    Raises:
        JobNotFound: there is no such job.
        RequestRefused: what it needs first cannot be made any more.
    """
    old = moves.lock(session, job_id, project_id)
    spec = _with_teacher(session, old)
    if isinstance(spec.teacher, TeacherPlan) or isinstance(spec.config, CompareConfig):
        return accept(session, project_id, spec, clone_of=old.id)
    return submit(session, project_id, spec, clone_of=old.id)


def _with_teacher(session: Session, old: Job) -> JobSpec:
    """The spec of a job, pinned to the teacher that was made for it, where that is there.

    A job that waits, or failed by another one, is not pinned yet: that is done when all it needs is there.
    """
    spec = JobSpec.model_validate(old.spec)
    teacher = next((other for other, role in dependencies.needed(session, old.id) if role == TEACHER), None)
    if spec.teacher is None or teacher is None or teacher.status != JobStatus.SUCCEEDED:
        return spec
    if dependencies.unusable(teacher) is not None:
        return spec
    pinned = JobSpec.model_validate(dependencies.pinned_to(old.spec, TEACHER, teacher))
    try:
        version = models.resolve(session, old.project_id, pinned.models["teacher"])
    except RegistryError:  # it was deleted or archived since
        return spec
    return pinned if version.digest == pinned.digests[TEACHER] else spec


def retry(session: Session, project_id: UUID, job_id: UUID) -> NewJob:
    """A failed or cancelled job as a new one that goes on from its newest checkpoint.

    Jobs it needs first are used again if they, or retries of them, have succeeded or run yet; else they are retried.

    Raises:
        JobNotFound: there is no such job.
        InvalidMove: it has not failed and was not cancelled, a job it needs is being cancelled or ends just now, or
            made a model that cannot be used.
        DependencyNotFound: a job it needs was deleted.
    """
    old = _lock_with_needed(session, project_id, job_id)
    made: dict[UUID, UUID] = {}
    new = _retry(session, old, made, uuid4())
    _adopt(session, new.id, [other for before, other in made.items() if before != old.id])
    return new


def _lock_with_needed(session: Session, project_id: UUID, job_id: UUID) -> Job:
    """The job, locked with all that its retry may look at: what it needs, what that needs, and their retries.

    Raises:
        JobNotFound: there is no such job.
    """
    if session.scalar(select(Job.id).where(Job.id == job_id, Job.project_id == project_id)) is None:
        raise JobNotFound(job_id)
    found, new = {job_id}, {job_id}
    while new:
        needed = select(JobDependency.depends_on).where(JobDependency.job_id.in_(new), JobDependency.role.is_not(None))
        retries = select(Job.id).where(Job.retry_of.in_(new))
        new = {*session.scalars(needed), *session.scalars(retries)} - found
        found |= new
    before = session.scalars(select(JobDependency.depends_on).where(JobDependency.job_id.in_(found)))
    job = next((job for job in moves.lock_all(session, {*found, *before}) if job.id == job_id), None)
    if job is None:  # deleted meanwhile
        raise JobNotFound(job_id)
    return job


def _retry(session: Session, old: Job, made: dict[UUID, UUID], new_id: UUID, group_id: UUID | None = None) -> NewJob:
    """Retry a locked job after those it needs. `made`: job → the one that is its retry."""
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        hint = "Only a failed or cancelled job is retried; clone it to run it again."
        raise InvalidMove(old.id, JobStatus(old.status), JobStatus.QUEUED, hint)
    spec = JobSpec.model_validate(old.spec)
    runs = new_id if isinstance(spec.config, CompareConfig) else None
    needs: dict[str, UUID] = {}
    after: list[UUID] = []
    for other, role in dependencies.needed(session, old.id):
        if role is None:
            after += [other.id] if other.status not in TERMINAL else []
        elif other.id in made:
            needs[role] = made[other.id]
        elif (usable := _usable(session, other)) is not None:
            _check_model(old, usable)
            needs[role] = usable.id
        else:
            needs[role] = _retry(session, other, made, uuid4(), runs).id
    _check_complete(old, spec, needs)
    _check_alive(session, old, [*needs.values()])
    group = group_id or (None if old.group_id == old.parent_id else old.group_id)
    new = submit(
        session, old.project_id, spec, retry_of=old.id, group_id=group, job_id=new_id, needs=needs, depends_on=after
    )
    made[old.id] = new.id
    checkpoint = newest_checkpoint(session, old.id)
    if checkpoint is not None:
        session.add(JobCheckpoint(job_id=new.id, epoch=0, step=checkpoint.step, artifact_id=checkpoint.artifact.id))
        session.flush()
    return new


def _usable(session: Session, job: Job) -> Job | None:
    """A locked job or a retry of it that has succeeded or may do so yet; None: it is to be retried."""
    if (again := _usable_retry(session, job)) is not None:
        return again
    return None if job.status in (JobStatus.FAILED, JobStatus.CANCELLED) else job


def _usable_retry(session: Session, job: Job) -> Job | None:
    """The newest retry of a job, or of such a retry, by a user or for another job, that has succeeded or may do so."""
    retries = select(Job.id).where(Job.retry_of == job.id).cte(recursive=True)
    retries = retries.union_all(select(Job.id).where(Job.retry_of == retries.c.id))
    usable = Job.status.not_in((JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.CANCELLING))
    found = select(Job).join(retries, retries.c.id == Job.id).where(usable)
    return session.scalar(found.order_by(Job.created_at.desc()).limit(1))


def _check_model(old: Job, other: Job) -> None:
    """Raises: InvalidMove: `other` has made no model that the retry of `old` could use."""
    if other.status == JobStatus.SUCCEEDED and (problem := dependencies.unusable(other)) is not None:
        hint = f"It would fail again: {problem}. Clone it to make all anew."
        raise InvalidMove(old.id, JobStatus(old.status), JobStatus.QUEUED, hint)


def _check_alive(session: Session, old: Job, wanted: Sequence[UUID]) -> None:
    """Lock what the retry of a job needs, so that none ends unseen, and look at it again.

    Raises:
        InvalidMove: one is being cancelled, or has just ended without success.
    """
    _check_dependencies(session, old.project_id, wanted)
    gone = Job.status.in_((JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.CANCELLING))
    for other_id, status in session.execute(select(Job.id, Job.status).where(Job.id.in_(wanted), gone)):
        raise InvalidMove(other_id, JobStatus(status), JobStatus.QUEUED, f"Job {old.id} needs it: wait a moment.")


def _check_complete(old: Job, spec: JobSpec, needs: Mapping[str, UUID]) -> None:
    """Raises: DependencyNotFound: a job that `old` needs is not there any more."""
    wanted = {TEACHER} if isinstance(spec.teacher, TeacherPlan) else set()
    if isinstance(spec.config, CompareConfig):
        wanted |= {f"{RUNS}{name}" for name in spec.config.runs()}
    missing = sorted(wanted - needs.keys())
    if missing:
        raise DependencyNotFound(f"What job {old.id} needs as {missing[0]} was deleted; clone it to make all anew.")


def _check_dependencies(session: Session, project_id: UUID, wanted: Sequence[UUID]) -> None:
    """Lock them too, so that none ends unseen before the new job's row is committed."""
    if not wanted:
        return
    found = select(Job.id).where(Job.id.in_(wanted), Job.project_id == project_id)
    ids = set(session.scalars(found.order_by(Job.created_at, Job.id).with_for_update(read=True)))
    missing = [str(job_id) for job_id in wanted if job_id not in ids]
    if missing:
        raise DependencyNotFound(f"There is no job {', '.join(missing)} to depend on.")
