"""Reads of schedules and their runs. What changes them is in `libs.jobs`."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from libs.database.tables import Job, Schedule, ScheduleRun
from libs.web.paging import Position
from services.gateway.repository import newest_first

Described = Row[*tuple[Any, ...]]
"""A run, and of its job: id, name, method, status, status_reason, error, model."""


def _described() -> Select[*tuple[Any, ...]]:
    model, error = Job.result["model"].label("model"), Job.error["message"].astext.label("error")
    columns = (Job.id.label("job_id"), Job.name, Job.method, Job.status, Job.status_reason, error, model)
    return select(ScheduleRun, *columns).outerjoin(Job, Job.id == ScheduleRun.job_id)


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[Schedule]:
    """Schedules of the project, newest first."""
    query = select(Schedule).where(Schedule.project_id == project_id)
    return session.scalars(newest_first(query, Schedule, after, count)).all()


def newest_runs(session: Session, schedule_ids: Sequence[UUID]) -> dict[UUID, Described]:
    """The newest run of each of these schedules that has one."""
    query = (
        _described()
        .where(ScheduleRun.schedule_id.in_(schedule_ids))
        .ext(distinct_on(ScheduleRun.schedule_id))
        .order_by(ScheduleRun.schedule_id, ScheduleRun.created_at.desc(), ScheduleRun.id.desc())
    )
    return {row[0].schedule_id: row for row in session.execute(query)}


def runs(session: Session, schedule_id: UUID, after: Position | None, count: int) -> Sequence[Described]:
    """Runs of a schedule, newest first."""
    query = _described().where(ScheduleRun.schedule_id == schedule_id)
    return session.execute(newest_first(query, ScheduleRun, after, count)).all()


def described(session: Session, run_id: UUID) -> Described:
    """One run that exists."""
    return session.execute(_described().where(ScheduleRun.id == run_id)).one()
