"""Rows of dashboard sessions."""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import ApiKey, DashboardSession

IDLE = timedelta(hours=12)
"""A session ends when it was not used for so long."""
LONGEST = timedelta(days=7)
"""A session ends after this time, used or not."""
_NOTED_FOR = timedelta(minutes=1)


class Found(NamedTuple):
    """A session that has not ended; `noted` while its last recorded use is recent."""

    sealed_key: bytes
    key_name: str
    noted: bool


def find(engine: Engine, digest: str) -> Found | None:
    """The session of this digest, unless it has ended."""
    noted = DashboardSession.last_used_at > func.now() - _NOTED_FOR
    query = (
        select(DashboardSession.sealed_key, ApiKey.name, noted)
        .join(ApiKey, ApiKey.id == DashboardSession.key_id)
        .where(DashboardSession.digest == digest, DashboardSession.expires_at > func.now())
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else Found(*row)


def note_use(engine: Engine, digest: str) -> None:
    """The session is used now: it ends later."""
    until = func.least(func.now() + IDLE, DashboardSession.created_at + LONGEST)
    values = {"last_used_at": func.now(), "expires_at": until}
    with transaction(engine) as session:
        session.execute(update(DashboardSession).where(DashboardSession.digest == digest).values(values))


def add(session: Session, digest: str, key_id: UUID, sealed_key: bytes) -> None:
    """Begin a session, and forget those that have ended."""
    session.execute(delete(DashboardSession).where(DashboardSession.expires_at <= func.now()))
    session.add(
        DashboardSession(digest=digest, key_id=key_id, sealed_key=sealed_key, expires_at=func.clock_timestamp() + IDLE)
    )


def remove(session: Session, digest: str) -> None:
    """End a session; one that has ended already is no error."""
    session.execute(delete(DashboardSession).where(DashboardSession.digest == digest))
