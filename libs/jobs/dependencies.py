"""Jobs that wait for jobs.

A waiting job is queued when everything it depends on has succeeded; a model that one of them made takes the role the
dependency has, and the spec is pinned to it. It fails when one of them fails and is cancelled when one of them is
cancelled, and so do the jobs that wait for it. The other way round, a job that was made for others alone is cancelled
when the last of them has ended.

Rows are locked oldest first, and all that a change may reach at once: a job is always younger than what it depends on,
so two transactions never wait for each other.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from libs.database.tables import Job, JobDependency, Json
from libs.jobs import counts, events, moves
from libs.jobs.states import ACTIVE, TERMINAL, ExitReason, JobStatus
from libs.jobs.tasks import TASKS

MODELS = "models/"
"""Roles that begin so are roles of the waiting job's spec."""
RUNS = "runs/"
"""Roles that begin so are runs that the waiting job compares."""
_MOST_QUOTED = 2000
"""Characters of another job's error that are repeated."""
_GATHERED = 0.95
"""Progress of a job that gathers what others made, when all of them have ended; its own part is the rest."""


def end(
    session: Session, job: Job, to: JobStatus, reason: str | None = None, *, cause: ExitReason | None = None
) -> None:
    """Move a locked job to a terminal state and settle every job that waits for it.

    Args:
        reason: for people.
        cause: for counting: why its attempt ended; None: because of another job.

    Raises:
        InvalidMove: the job has ended already.
    """
    if to not in TERMINAL:
        raise ValueError(f"{to} is not a terminal state")
    moves.move(session, job, to, reason)
    job.finished_at = func.clock_timestamp()
    session.flush()
    counts.ended(session, job.method, to, cause)
    for waiting in _waiting_for(session, job):
        if waiting.status == JobStatus.WAITING and not settle(session, waiting):  # one before it may have ended it
            _note_progress(session, waiting)


def settle(session: Session, job: Job) -> bool:
    """Queue, fail or cancel a locked waiting job, as its dependencies say; whether it moved."""
    found = needed(session, job.id)
    for wanted in (JobStatus.FAILED, JobStatus.CANCELLED):
        for other, _ in found:
            if other.status == wanted:
                end(session, job, wanted, _because_of(other))
                return True
    if any(other.status != JobStatus.SUCCEEDED for other, _ in found):
        return False
    for other, role in found:
        if role is not None and (problem := unusable(other)) is not None:
            end(session, job, JobStatus.FAILED, problem)
            return True
        if role is not None and role.startswith(MODELS):
            _pin_model(session, job, role, other)
    moves.queue_up(session, job)
    return True


def needed(session: Session, job_id: UUID) -> list[tuple[Job, str | None]]:
    """The jobs that a job depends on, and the role that each one's model has for it; oldest first."""
    both = select(Job, JobDependency.role).join(JobDependency, JobDependency.depends_on == Job.id)
    of_job = both.where(JobDependency.job_id == job_id).order_by(Job.created_at, Job.id)
    return [(other, role) for other, role in session.execute(of_job.execution_options(populate_existing=True))]


def unusable(other: Job) -> str | None:
    """Why the model of a job that succeeded cannot be used; None when it can."""
    made = (other.result or {}).get("model")
    if made is None:
        return f"job {other.id}, whose model it needs, made none"
    if made["status"] != "ready":
        return f"{made['name']}@{made['version']}, which it needs, is {made['status']}: {made['status_reason']}"
    return None


def _pin_model(session: Session, job: Job, role: str, other: Job) -> None:
    job.spec = pinned_to(job.spec, role, other)
    name = role.removeprefix(MODELS)
    message = f"{name} is {job.spec['models'][name]}, made by job {other.id}"
    events.append(session, job, [("log", {"level": "info", "message": message, "fields": {}})])


def pinned_to(spec: Json, role: str, other: Job) -> Json:
    """A spec that names the version `other` made; the plan it was made by is done with."""
    made = (other.result or {})["model"]
    name = role.removeprefix(MODELS)
    return {
        **({**spec, name: None} if name in spec else spec),
        "models": {**spec["models"], name: f"{made['name']}@{made['version']}"},
        "digests": {**spec["digests"], role: made["digest"]},
    }


def _note_progress(session: Session, job: Job) -> None:
    """How many of the jobs that a locked job waits for have ended."""
    found = needed(session, job.id)
    done = sum(other.status == JobStatus.SUCCEEDED for other, _ in found)
    job.progress = progress_before(job.method) * done / len(found)
    job.progress_note = f"{done} of {len(found)} jobs are done"
    events.append(session, job, [("progress", {"fraction": job.progress, "note": job.progress_note})])


def progress_before(method: str) -> float:
    """Where the progress of a job's own attempt begins: a training that waits for its teacher has it all to do yet."""
    task = TASKS.get(method)
    return _GATHERED if task is not None and task.gathers else 0.0


def _because_of(other: Job) -> str:
    message = (other.error or {}).get("message") if other.status == JobStatus.FAILED else None
    reason = f"job {other.id}, which it depends on, is {other.status}"
    return f"{reason}: {message[:_MOST_QUOTED]}" if message else reason


def family(session: Session, job_ids: Collection[UUID]) -> list[Job]:
    """Jobs and those that have not ended and were made for them alone, oldest first.

    All are locked, and so is what waits for them: it ends with them.
    """
    inside = {*job_ids, *_alone_for(session, job_ids)}
    jobs = moves.lock_all(session, inside.union(*_waiting_after(session, inside).values()))
    still = {*job_ids, *_alone_for(session, job_ids)}  # one may have ended, or been taken by another job, meanwhile
    return [job for job in jobs if job.id in still]


def _alone_for(session: Session, job_ids: Collection[UUID]) -> set[UUID]:
    """Those that jobs need the models of, have not ended, and are waited for by no job beside all of these."""
    made = select(Job.id).join(JobDependency, JobDependency.depends_on == Job.id)
    mine = made.where(JobDependency.job_id.in_(job_ids), JobDependency.role.is_not(None))
    ids = set(session.scalars(mine.where(Job.status.not_in(TERMINAL))))
    while shared := _waited_for_by_others(session, ids, {*job_ids, *ids}):
        ids -= shared
    return ids


def _waited_for_by_others(session: Session, ids: Collection[UUID], inside: Collection[UUID]) -> set[UUID]:
    waiter = aliased(Job)
    dependency = select(JobDependency.depends_on).join(waiter, waiter.id == JobDependency.job_id)
    live = dependency.where(JobDependency.depends_on.in_(ids), waiter.status.not_in(TERMINAL))
    return set(session.scalars(live.where(waiter.id.not_in(inside)))) if ids else set()


def cancel(session: Session, job: Job, reason: str | None = None) -> None:
    """Cancel a locked job that has not ended: at once, or have its running attempt write its last checkpoint."""
    if job.status == JobStatus.CANCELLING:
        return
    if job.status in ACTIVE:
        moves.move(session, job, JobStatus.CANCELLING, reason)
    else:
        end(session, job, JobStatus.CANCELLED, reason, cause=ExitReason.CANCELLED if reason is None else None)


def cancel_needless(session: Session, limit: int = 100) -> int:
    """Cancel jobs that were made for others, all of which have ended without them; how many."""
    waiter = aliased(Job)
    for_others = select(JobDependency).where(JobDependency.depends_on == Job.id, JobDependency.role.is_not(None))
    waiters = select(JobDependency).join(waiter, waiter.id == JobDependency.job_id)
    live = waiters.where(JobDependency.depends_on == Job.id, waiter.status.not_in(TERMINAL))
    open_ones = select(Job).where(Job.status.not_in((*TERMINAL, JobStatus.CANCELLING)))
    jobs = lock_free(session, open_ones.where(for_others.exists(), ~live.exists()), limit)

    def end_alone(job: Job) -> None:
        if job.status not in TERMINAL:  # one before it may have ended it
            cancel(session, job, "nothing waits for it any more")

    return moves.each(session, jobs, end_alone)


def settle_all(session: Session, limit: int = 100) -> int:
    """Settle waiting jobs with nothing left to wait for, or with something that failed; how many moved."""
    needed = aliased(Job)
    dependency = select(JobDependency).join(needed, needed.id == JobDependency.depends_on)
    of_job = dependency.where(JobDependency.job_id == Job.id)
    open_ones = of_job.where(needed.status.not_in(TERMINAL)).exists()
    broken = of_job.where(needed.status.in_((JobStatus.FAILED, JobStatus.CANCELLED))).exists()
    due = select(Job).where(Job.status == JobStatus.WAITING, broken | ~open_ones)
    jobs = [job for job in lock_free(session, due, limit) if job.status == JobStatus.WAITING]
    moved = 0

    def move_on(job: Job) -> None:
        nonlocal moved
        moved += job.status == JobStatus.WAITING and settle(session, job)  # one before it may have moved it

    moves.each(session, jobs, move_on)
    return moved


def lock_free(session: Session, jobs: Select[Job], limit: int) -> list[Job]:
    """The oldest of a query's jobs, locked with all that waits for them; this itself waits for nobody.

    Passed over are those of which somebody else has locked one, and those that the query, asked again when all are
    locked, has no more.
    """
    oldest = jobs.order_by(Job.created_at, Job.id)
    ids = session.scalars(oldest.with_only_columns(Job.id).limit(limit)).all()
    if not ids:
        return []
    free = moves.lock_free(session, ids, _waiting_after(session, ids))
    return list(session.scalars(oldest.where(Job.id.in_(free)).execution_options(populate_existing=True)))


def _waiting_after(session: Session, job_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Job → the jobs that wait for it, those that wait for these, and so on; jobs that nothing waits for are left out.

    They end when it fails or is cancelled.
    """
    waiting = select(JobDependency.depends_on, JobDependency.job_id).join(Job, Job.id == JobDependency.job_id)
    waiting = waiting.where(Job.status == JobStatus.WAITING)
    first = waiting.where(JobDependency.depends_on.in_(job_ids)).cte(recursive=True)
    later = waiting.with_only_columns(first.c.depends_on, JobDependency.job_id)
    after = first.union(later.where(JobDependency.depends_on == first.c.job_id))
    found: dict[UUID, set[UUID]] = {}
    for root, job_id in session.execute(select(after.c.depends_on, after.c.job_id)):
        found.setdefault(root, set()).add(job_id)
    return found


def _waiting_for(session: Session, job: Job) -> list[Job]:
    """The jobs that wait for a job, locked with those that may end with them."""
    after = _waiting_after(session, [job.id]).get(job.id)
    if not after:
        return []
    direct = select(JobDependency.job_id).where(JobDependency.depends_on == job.id)
    jobs, ids = moves.lock_all(session, after), set(session.scalars(direct))
    return [one for one in jobs if one.id in ids and one.status == JobStatus.WAITING]
