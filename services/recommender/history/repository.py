"""Reads of the events of one user or session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import ARRAY, Text, and_, any_, delete, literal, or_, select, tuple_, union
from sqlalchemy.orm import Session

from libs.database.tables import Recommendation, UserEvent


@dataclass(frozen=True, slots=True)
class Actor:
    """Whose events: a user's or a session's."""

    kind: Literal["user", "session"]
    id: str


_COLUMNS = {"user": UserEvent.user_id, "session": UserEvent.session_id}


def newest(
    session: Session, project_id: UUID, actor: Actor, limit: int, after: tuple[datetime, int] | None = None
) -> Sequence[UserEvent]:
    """Up to `limit` events of the actor that follow `after` in the order (occurred_at, id), newest first."""
    query = select(UserEvent).where(UserEvent.project_id == project_id, _COLUMNS[actor.kind] == actor.id)
    if after is not None:
        query = query.where(tuple_(UserEvent.occurred_at, UserEvent.id) < tuple_(*after))
    return session.scalars(query.order_by(UserEvent.occurred_at.desc(), UserEvent.id.desc()).limit(limit)).all()


def newest_items(session: Session, project_id: UUID, user_id: str, limit: int) -> Sequence[str]:
    """Item ids of up to `limit` events of a user, newest first."""
    query = select(UserEvent.item_id).where(UserEvent.project_id == project_id, UserEvent.user_id == user_id)
    return session.scalars(query.order_by(UserEvent.occurred_at.desc(), UserEvent.id.desc()).limit(limit)).all()


def erase(session: Session, project_id: UUID, actor: Actor) -> list[str]:
    """Delete what is stored of a user or a session; feedback goes with its recommendation.

    Of a user's sessions, what carries no user goes too (done before logging in); what carries another user stays.

    Returns:
        The sessions that lost events.
    """
    sessions = [actor.id] if actor.kind == "session" else _sessions_of(session, project_id, actor.id)
    for table in (UserEvent, Recommendation):
        # One parameter for any number of sessions: a statement takes at most 65,535.
        anyones = table.session_id == any_(literal(sessions, ARRAY(Text)))
        theirs = or_(table.user_id == actor.id, and_(anyones, table.user_id.is_(None)))
        doomed = delete(table).where(table.project_id == project_id, theirs if actor.kind == "user" else anyones)
        session.execute(doomed.execution_options(synchronize_session=False))
    return sessions


def _sessions_of(session: Session, project_id: UUID, user_id: str) -> list[str]:
    named = (
        select(table.session_id).where(
            table.project_id == project_id, table.user_id == user_id, table.session_id.is_not(None)
        )
        for table in (UserEvent, Recommendation)
    )
    return [name for name in session.scalars(union(*named)) if name]
