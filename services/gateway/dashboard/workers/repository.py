"""Workers as they reported themselves, and what each has in hand."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, Worker
from libs.jobs.states import ACTIVE
from libs.web.paging import Position
from services.gateway.repository import newest_first

_MOST_JOBS = 1000


def page(session: Session, after: Position | None, count: int) -> Sequence[Worker]:
    """Workers whose rows are there, newest first."""
    query = select(Worker, Worker.started_at.label("created_at"))
    return session.scalars(newest_first(query, _ByStart, after, count)).all()


class _ByStart:
    """The order of the list, in the words that `newest_first` uses."""

    created_at = Worker.started_at
    id = Worker.id


class InHand(NamedTuple):
    """A job that a worker runs now."""

    id: UUID
    name: str
    status: str


def in_hand(session: Session, project_id: UUID, worker_ids: Sequence[UUID]) -> dict[UUID | None, list[InHand]]:
    """Worker → the project's jobs that it runs now."""
    running = Job.status.in_(sorted(ACTIVE))
    query = select(Job.worker_id, Job.id, Job.name, Job.status).where(
        running, Job.project_id == project_id, Job.worker_id.in_(worker_ids)
    )
    found: dict[UUID | None, list[InHand]] = {}
    for row in session.execute(query.order_by(Job.started_at).limit(_MOST_JOBS)):
        found.setdefault(row[0], []).append(InHand(*row[1:]))
    return found


def now(session: Session) -> datetime:
    """The database's clock, by which workers report."""
    found: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return found
