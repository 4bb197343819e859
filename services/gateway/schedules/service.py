"""Schedules as the API shows them. When they fire and what that does is `libs.jobs`'s."""

from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Schedule as ScheduleRow
from libs.jobs import firing, schedules
from libs.jobs.schedules import Plan
from libs.jobs.states import JobStatus
from libs.web.auth import Caller, Scope
from libs.web.json_text import check_storable
from libs.web.paging import Page, decode_cursor
from libs.web.problems import ForbiddenError, UnprocessableError
from services.gateway.errors import below
from services.gateway.jobs import service as jobs
from services.gateway.jobs.repository import JobFilter
from services.gateway.jobs.schemas import JobSummary
from services.gateway.paging import page_of
from services.gateway.schedules import repository
from services.gateway.schedules.schemas import RunJob, Schedule, ScheduleChange, ScheduleRequest, ScheduleRun


def read_plan(caller: Caller, request: ScheduleChange) -> Plan:
    """What a request asks for.

    Raises:
        ForbiddenError: it makes data sets, and the caller's key may not.
        UnprocessableError: its job is not valid; a pointer to each field.
    """
    check_storable({"job": request.job})
    if request.dataset is not None:
        _check_may_make_datasets(caller)
    try:
        jobs.read_spec(request.job)
    except UnprocessableError as error:
        raise below("/job", error) from None
    return Plan(
        job=request.job,
        cron=request.cron,
        every_s=request.every_s,
        timezone=request.timezone,
        dataset=None if request.dataset is None else request.dataset.model_dump(mode="json", exclude_unset=True),
        overlap=request.overlap,
        misfire=request.misfire,
    )


def _check_may_make_datasets(caller: Caller) -> None:
    if not caller.may(Scope.DATASETS_WRITE):
        raise ForbiddenError(f"A schedule that makes data sets needs a key with the scope {Scope.DATASETS_WRITE}.")


def create(session: Session, project_id: UUID, request: ScheduleRequest, plan: Plan, data_roots: str) -> Schedule:
    """Begin a schedule.

    Raises:
        ScheduleNameTaken: there is one of this name.
        RequestRefused: its job or data set would be refused now.
    """
    return _read(session, schedules.create(session, project_id, request.name, plan, data_roots))


def replace(session: Session, project_id: UUID, name: str, plan: Plan, data_roots: str) -> Schedule:
    """Give a schedule another plan.

    Raises:
        ScheduleNotFound: there is none of this name.
        RequestRefused: its job or data set would be refused now.
    """
    return _read(session, schedules.replace(session, project_id, name, plan, data_roots))


def pause(session: Session, project_id: UUID, name: str) -> Schedule:
    """Have it submit nothing."""
    return _read(session, schedules.pause(session, project_id, name))


def resume(session: Session, project_id: UUID, name: str) -> Schedule:
    """Have it go on."""
    return _read(session, schedules.resume(session, project_id, name))


def run(session: Session, caller: Caller, name: str, data_roots: str) -> ScheduleRun:
    """Submit what it submits, now.

    Raises:
        ForbiddenError: it makes data sets, and the caller's key may not.
        ScheduleBusy: the job of an earlier time has not ended.
        RequestRefused: its job or data set would be refused.
    """
    schedule = schedules.lock(session, caller.project_id, name)
    if schedule.dataset is not None:
        _check_may_make_datasets(caller)
    made = firing.run_now(session, schedule, data_roots)
    return _run(repository.described(session, made.id))


def listing(session: Session, project_id: UUID, cursor: str | None, limit: int) -> Page[Schedule]:
    """A page of schedules, newest first."""
    after = decode_cursor(cursor, "schedules", {})
    rows = repository.page(session, project_id, after, limit + 1)
    newest = repository.newest_runs(session, [row.id for row in rows])
    return page_of(rows, limit, "schedules", {}, lambda row: _schedule(row, newest.get(row.id)))


def detail(session: Session, project_id: UUID, name: str) -> Schedule:
    """One schedule."""
    return _read(session, schedules.find(session, project_id, name))


def jobs_of(session: Session, project_id: UUID, name: str, cursor: str | None, limit: int) -> Page[JobSummary]:
    """A page of the jobs a schedule submitted, newest first.

    Raises:
        ScheduleNotFound: there is none of this name.
    """
    schedules.find(session, project_id, name)
    return jobs.listing(session, project_id, JobFilter(schedule=name), cursor, limit)


def runs(session: Session, project_id: UUID, name: str, cursor: str | None, limit: int) -> Page[ScheduleRun]:
    """A page of what became of a schedule's times, newest first."""
    filters = {"schedule": schedules.find(session, project_id, name).id}
    rows = repository.runs(session, filters["schedule"], decode_cursor(cursor, "runs", filters), limit + 1)
    by_run = {row[0].id: _run(row) for row in rows}
    return page_of([row[0] for row in rows], limit, "runs", filters, lambda row: by_run[row.id])


def _read(session: Session, row: ScheduleRow) -> Schedule:
    return _schedule(row, repository.newest_runs(session, [row.id]).get(row.id))


def _schedule(row: ScheduleRow, last_run: repository.Described | None) -> Schedule:
    fields = {name: getattr(row, name) for name in Schedule.model_fields.keys() - {"last_run"}}
    return Schedule(**fields, last_run=None if last_run is None else _run(last_run))


def _run(described: repository.Described) -> ScheduleRun:
    run, job_id, name, method, status, status_reason, error, model = described
    job = None
    if job_id is not None:
        reason = error if status == JobStatus.FAILED and error else status_reason
        job = RunJob(id=job_id, name=name, method=method, status=status, reason=reason, model=model)
    return ScheduleRun(
        id=run.id,
        planned_at=run.planned_at,
        fired_at=run.created_at,
        fired_by=run.fired_by,
        outcome=run.outcome,
        reason=run.reason,
        dataset=run.dataset,
        job=job,
    )
