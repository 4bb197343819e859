"""Counts for the overview."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from libs.database.tables import Job, Outbox


def jobs_by_status(session: Session, project_id: UUID) -> dict[str, int]:
    """How many jobs of the project there are in each state."""
    query = select(Job.status, func.count()).where(Job.project_id == project_id).group_by(Job.status)
    return {row[0]: row[1] for row in session.execute(query)}


def waiting_messages(session: Session) -> tuple[int, float]:
    """Messages that the relay has not published yet, and the age of the oldest in seconds."""
    age = func.coalesce(func.extract("epoch", func.now() - func.min(Outbox.created_at)), 0.0)
    count, oldest_s = session.execute(select(func.count(), age).select_from(Outbox)).one()
    return count, float(oldest_s)
