"""Reads of the events of one user or session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from libs.database.tables import UserEvent


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
