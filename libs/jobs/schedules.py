"""Schedules as their owners see them: made, changed, paused, resumed, deleted. Never commits.

What a schedule would submit is tried before it is stored, by the code that submits it later, and taken back.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from libs.database.tables import Json, Schedule
from libs.jobs import firing
from libs.jobs.errors import ScheduleNameTaken, ScheduleNotFound
from libs.jobs.schedule_times import next_cron
from libs.registry.errors import MOST_NAMES, nearest_names

Overlap = Literal["skip", "allow"]
Misfire = Literal["once", "skip"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is submitted, and when. `cron` and `timezone` are valid; exactly one of `cron` and `every_s` is set.

    Attributes:
        job: a request as `POST /v1/jobs` takes it.
        dataset: a request as `POST /v1/datasets` takes it; that version is made first, and the job reads it.
        overlap: what is done while the job of an earlier time has not ended.
        misfire: what is done about times at which nothing could be submitted.
    """

    job: Json
    cron: str | None = None
    every_s: int | None = None
    timezone: str = "UTC"
    dataset: Json | None = None
    overlap: Overlap = "skip"
    misfire: Misfire = "once"


def create(session: Session, project_id: UUID, name: str, plan: Plan, data_roots: str) -> Schedule:
    """Begin a schedule.

    Raises:
        ScheduleNameTaken: there is one of this name.
        RequestRefused: its job or its data set would be refused now; faults below `job` and `dataset`.
    """
    firing.rehearse(session, project_id, plan.job, plan.dataset, data_roots)
    due = _next_run(plan, firing.now(session))
    values = {"id": uuid4(), "project_id": project_id, "name": name, "next_run_at": due, **asdict(plan)}
    made = insert(Schedule).values(status="active", refusals=0, **values).on_conflict_do_nothing().returning(Schedule)
    schedule = session.scalar(made)
    if schedule is None:
        raise ScheduleNameTaken(name)
    return schedule


def replace(session: Session, project_id: UUID, name: str, plan: Plan, data_roots: str) -> Schedule:
    """Give a schedule another plan. A paused one stays paused; the rhythm goes on unless it is changed.

    Raises:
        ScheduleNotFound: there is none of this name.
        RequestRefused: see `create`.
    """
    schedule = lock(session, project_id, name)
    firing.rehearse(session, project_id, plan.job, plan.dataset, data_roots)
    same_rhythm = all(getattr(schedule, key) == getattr(plan, key) for key in ("cron", "every_s", "timezone"))
    if schedule.status == "active" and not same_rhythm:
        schedule.next_run_at = _next_run(plan, firing.now(session))
    for key, value in asdict(plan).items():
        setattr(schedule, key, value)
    schedule.refusals = 0
    return _changed(session, schedule)


def pause(session: Session, project_id: UUID, name: str) -> Schedule:
    """Submit nothing until it is resumed; jobs that were submitted go on. Again changes nothing.

    Raises:
        ScheduleNotFound: there is none of this name.
    """
    schedule = lock(session, project_id, name)
    if schedule.status == "active":
        schedule.status, schedule.status_reason, schedule.next_run_at = "paused", None, None
    return _changed(session, schedule)


def resume(session: Session, project_id: UUID, name: str) -> Schedule:
    """Go on with the first time from now; what passed meanwhile is not made up for. Again changes nothing.

    Raises:
        ScheduleNotFound: there is none of this name.
    """
    schedule = lock(session, project_id, name)
    if schedule.status == "paused":
        due = _next_run(schedule, firing.now(session))
        schedule.status, schedule.status_reason, schedule.refusals, schedule.next_run_at = "active", None, 0, due
    return _changed(session, schedule)


def delete(session: Session, project_id: UUID, name: str) -> None:
    """Forget a schedule and its history; the jobs it submitted stay.

    Raises:
        ScheduleNotFound: there is none of this name.
    """
    session.delete(lock(session, project_id, name))
    session.flush()


def find(session: Session, project_id: UUID, name: str) -> Schedule:
    """The schedule of this name.

    Raises:
        ScheduleNotFound: there is none; the error has the nearest names.
    """
    schedule = session.scalar(select(Schedule).where(Schedule.project_id == project_id, Schedule.name == name))
    if schedule is None:
        raise _not_found(session, project_id, name)
    return schedule


def lock(session: Session, project_id: UUID, name: str) -> Schedule:
    """The schedule of this name, its row locked until the transaction ends.

    Raises:
        ScheduleNotFound: there is none.
    """
    wanted = select(Schedule).where(Schedule.project_id == project_id, Schedule.name == name).with_for_update()
    schedule = session.scalar(wanted.execution_options(populate_existing=True))
    if schedule is None:
        raise _not_found(session, project_id, name)
    return schedule


def _not_found(session: Session, project_id: UUID, name: str) -> ScheduleNotFound:
    names = session.scalars(select(Schedule.name).where(Schedule.project_id == project_id).limit(MOST_NAMES)).all()
    near = nearest_names(name, names)
    return ScheduleNotFound(name, f" Did you mean {' or '.join(map(repr, near))}?" if near else "")


def _changed(session: Session, schedule: Schedule) -> Schedule:
    if session.is_modified(schedule):
        schedule.updated_at = func.clock_timestamp()
    session.flush()
    session.refresh(schedule)
    return schedule


def _next_run(plan: Plan | Schedule, now: datetime) -> datetime:
    """The first time from now on."""
    if plan.cron is not None:
        return next_cron(plan.cron, plan.timezone, now)
    assert plan.every_s is not None
    return now + timedelta(seconds=plan.every_s)
