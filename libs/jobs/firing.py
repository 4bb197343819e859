"""What a schedule does when it is due: it submits its job, and before it the data set version the job reads.

The relay looks for due schedules. A row's lock and its `next_run_at` are all that keeps a time from being met twice:
both jobs, their messages, the history and the next time are one transaction, on Postgres's clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from libs.database.engine import is_transient
from libs.database.tables import Job, Json, Schedule, ScheduleRun
from libs.jobs import dataset_versions
from libs.jobs.dataset_spec import DatasetRequest
from libs.jobs.errors import Fault, RequestRefused, ScheduleBusy
from libs.jobs.references import Upcoming
from libs.jobs.schedule_times import BadTime, next_cron, next_interval
from libs.jobs.spec import parse_spec
from libs.jobs.states import TERMINAL
from libs.jobs.submit import NewJob, accept

log = structlog.get_logger()
T = TypeVar("T")
LATE = timedelta(seconds=60)
"""A time that is met later than this was missed."""
MOST_REFUSALS = 5
"""So many refusals in a row pause a schedule."""
KEPT_RUNS = 100
"""The newest runs of a schedule that are kept; beside them those whose job has not ended."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What one time of a schedule made; `dataset` is the `name@version` that was begun first."""

    job: NewJob
    dataset: str | None


def now(session: Session) -> datetime:
    """Postgres's clock."""
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def seconds_to_next(session: Session) -> float | None:
    """Seconds until a schedule is due, less than 0 when one is late; None when none is active."""
    wait = func.extract("epoch", func.min(Schedule.next_run_at) - func.clock_timestamp())
    found = session.scalar(select(wait).where(Schedule.status == "active"))
    return None if found is None else float(found)


def fire_next(session: Session, data_roots: str) -> ScheduleRun | None:
    """Fire the schedule that has been due longest and that nobody else is firing; None when there is none.

    Never raises for what is wrong with a schedule: that is written down with its run.
    """
    due = select(Schedule).where(Schedule.status == "active", Schedule.next_run_at <= func.clock_timestamp())
    first = due.order_by(Schedule.next_run_at).limit(1).with_for_update(skip_locked=True)
    schedule = session.scalar(first.execution_options(populate_existing=True))
    if schedule is None:
        return None
    moment, planned = now(session), schedule.next_run_at
    assert planned is not None
    run = _run_of(session, schedule, planned)
    if run is None:
        run = ScheduleRun(schedule_id=schedule.id, planned_at=planned, fired_by="clock")
        _meet(session, schedule, run, late=moment - planned > LATE, data_roots=data_roots)
        session.add(run)
    if schedule.status == "active":
        _move_on(schedule, planned, moment)
    session.flush()
    _trim(session, schedule)
    return run


def run_now(session: Session, schedule: Schedule, data_roots: str) -> ScheduleRun:
    """Submit what a locked schedule submits, paused or not, beside its own times.

    Raises:
        ScheduleBusy: the job of an earlier time has not ended, and its jobs do not overlap.
        RequestRefused: job or data set would be refused; faults below `job` and `dataset`.
    """
    open_job = _open_job(session, schedule) if schedule.overlap == "skip" else None
    if open_job is not None:
        raise ScheduleBusy(schedule.name, open_job)
    made = _submit(session, schedule, data_roots)
    schedule.refusals = 0
    run = ScheduleRun(schedule_id=schedule.id, planned_at=now(session), fired_by="user")
    _note(run, made)
    session.add(run)
    session.flush()
    _trim(session, schedule)
    return run


def rehearse(session: Session, project_id: UUID, job: Json, dataset: Json | None, data_roots: str) -> None:
    """Submit what a schedule would submit, and take it back.

    Raises:
        RequestRefused: see `submit_plan`.
    """
    with session.begin_nested() as attempt:
        submit_plan(session, project_id, job, dataset, data_roots)
        attempt.rollback()


def _submit(session: Session, schedule: Schedule, data_roots: str) -> Submitted:
    plan = (schedule.job, schedule.dataset)
    return submit_plan(session, schedule.project_id, *plan, data_roots, schedule=schedule.name)


def submit_plan(
    session: Session,
    project_id: UUID,
    job: Json,
    dataset: Json | None,
    data_roots: str,
    *,
    schedule: str | None = None,
) -> Submitted:
    """Submit a job; with a data set, begin that version first: the job waits until it is ready, and reads just it.

    Args:
        job: as `POST /v1/jobs` takes it; the bare name of the data set means the new version.
        dataset: as `POST /v1/datasets` takes it, but no upload.
        schedule: the name that both jobs, the one that validates the version and the one that reads it, carry.

    Raises:
        RequestRefused: one of them cannot be as things stand; faults below `job` and `dataset`.
    """
    upcoming, made = None, None
    waits_for: list[UUID] = []
    if dataset is not None:
        request = _read(lambda: DatasetRequest.model_validate(dataset), "dataset")
        if request.source.upload is not None:
            message = "Nobody sends a file when a schedule is due: take `path`, `public` or `recorded`."
            raise RequestRefused([Fault(("dataset", "source", "upload"), message)], "invalid_request")
        row = _read(
            lambda: dataset_versions.begin(session, project_id, request.name, request, data_roots, schedule=schedule),
            "dataset",
        )
        upcoming = Upcoming(request.name, row.version, request.kind)
        made = f"{request.name}@{row.version}"
        assert row.validation_job_id is not None
        waits_for = [row.validation_job_id]
    spec = _read(lambda: parse_spec(job), "job")
    options: dict[str, Any] = {"upcoming": upcoming, "depends_on": waits_for, "schedule": schedule}
    return Submitted(_read(lambda: accept(session, project_id, spec, **options), "job"), made)


def _read(make: Callable[[], T], place: str) -> T:
    """What `make` makes of one part of a schedule; what it refuses lies below `place`."""
    try:
        return make()
    except RequestRefused as refused:
        raise refused.below(place) from None
    except ValidationError as error:
        faults = [Fault((place, *problem["loc"]), problem["msg"]) for problem in error.errors()]
        raise RequestRefused(faults, "invalid_request") from None


def _run_of(session: Session, schedule: Schedule, planned: datetime) -> ScheduleRun | None:
    """What became of this time already: a clock that is set back comes to it twice."""
    mine = select(ScheduleRun).where(ScheduleRun.schedule_id == schedule.id)
    return session.scalar(mine.where(ScheduleRun.planned_at == planned))


def _meet(session: Session, schedule: Schedule, run: ScheduleRun, *, late: bool, data_roots: str) -> None:
    """Settle one time of a locked schedule: what becomes of it is written into `run`."""
    open_job = _open_job(session, schedule) if schedule.overlap == "skip" else None
    if late and schedule.misfire == "skip":
        run.outcome, run.reason = "skipped", "it was missed: nobody fired it in time"
    elif open_job is not None:
        run.outcome, run.reason = "skipped", f"job {open_job} of an earlier time has not ended"
    elif (refusal := _try(session, schedule, run, data_roots)) is not None:
        run.outcome, run.reason = "refused", refusal
        schedule.refusals += 1
        if schedule.refusals >= MOST_REFUSALS:
            _give_up(schedule, f"refused {schedule.refusals} times in a row; the last time: {refusal}")
    else:
        schedule.refusals = 0


def _try(session: Session, schedule: Schedule, run: ScheduleRun, data_roots: str) -> str | None:
    """Submit; why it was refused, or None."""
    try:
        with session.begin_nested():
            made = _submit(session, schedule, data_roots)
    except RequestRefused as error:
        first, others = error.faults[0], len(error.faults) - 1
        return f"/{'/'.join(map(str, first.path))}: {first.message}" + (f" (and {others} more)" if others else "")
    except Exception as error:
        if isinstance(error, DBAPIError) and is_transient(error):
            raise  # Postgres is away, or busy: this time is met later
        log.exception("schedule_fails", schedule=schedule.name, schedule_id=str(schedule.id))
        return f"{type(error).__name__}; the relay's log says more"
    _note(run, made)
    return None


def _note(run: ScheduleRun, made: Submitted) -> None:
    run.outcome, run.job_id, run.dataset = "submitted", made.job.id, made.dataset


def _give_up(schedule: Schedule, reason: str) -> None:
    schedule.status, schedule.status_reason, schedule.next_run_at = "paused", reason, None


def _move_on(schedule: Schedule, planned: datetime, moment: datetime) -> None:
    """The next time is the first one from now on: whatever passed meanwhile is met by this one."""
    try:
        if schedule.cron is not None:
            schedule.next_run_at = next_cron(schedule.cron, schedule.timezone, moment)
        elif schedule.every_s is not None:
            schedule.next_run_at = next_interval(schedule.every_s, planned, moment)
    except BadTime as error:
        _give_up(schedule, str(error))


def _open_job(session: Session, schedule: Schedule) -> UUID | None:
    """A job of this schedule that has not ended."""
    jobs = select(Job.id).join(ScheduleRun, ScheduleRun.job_id == Job.id)
    mine = jobs.where(ScheduleRun.schedule_id == schedule.id, Job.status.not_in(TERMINAL))
    return session.scalar(mine.order_by(Job.created_at).limit(1))


def _trim(session: Session, schedule: Schedule) -> None:
    """Forget old runs; not those whose job has not ended, by which overlaps are seen."""
    runs = select(ScheduleRun.id).where(ScheduleRun.schedule_id == schedule.id)
    old = runs.order_by(ScheduleRun.created_at.desc(), ScheduleRun.id.desc()).offset(KEPT_RUNS)
    runs_yet = select(Job.id).where(Job.id == ScheduleRun.job_id, Job.status.not_in(TERMINAL)).exists()
    doomed = delete(ScheduleRun).where(ScheduleRun.id.in_(old), ~runs_yet)
    session.execute(doomed.execution_options(synchronize_session=False))
