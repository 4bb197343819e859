"""Rows of API keys."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from uuid import UUID

from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from libs.database.engine import transaction
from libs.database.tables import ApiKey
from libs.web.auth import Caller, StoredKey
from libs.web.paging import Position
from services.gateway.repository import newest_first

_NOTED_FOR = timedelta(minutes=1)
_MOST_REMEMBERED = 1000


class PostgresKeys:
    """Finds the key of a request, and notes when it was last used, to the minute.

    A key that was found is remembered for `remember_s`, so that a burst of requests asks Postgres once; a revoked key
    is refused everywhere after that time, and at once by the process that revoked it. While Postgres does not answer a
    key goes on that was found before: what needs no Postgres, as inference, is served on.
    """

    def __init__(self, engine: Engine, remember_s: float = 1.0) -> None:
        self._engine = engine
        self._remember_s = remember_s
        self._found: dict[str, tuple[float, StoredKey]] = {}

    def knows(self, key: str) -> bool:
        """Whether this key was found lately, and its use need not be noted."""
        known = self._recalled(key.split("_")[1]) if key.count("_") == 2 else None
        return known is not None and known.use_is_noted

    def find(self, prefix: str) -> StoredKey | None:
        """The key with this prefix.

        Raises:
            sqlalchemy.exc.OperationalError: it was never found here, and Postgres does not answer.
        """
        known = self._recalled(prefix)
        if known is not None:
            return known
        _, before = self._found.get(prefix, (0.0, None))
        try:
            found = self._look_up(prefix)
        except (OperationalError, PoolTimeoutError):
            if before is None:
                raise
            found = replace(before, use_is_noted=True)  # it cannot be noted now
        if found is not None:
            self._remember(prefix, found)
        return found

    def _recalled(self, prefix: str) -> StoredKey | None:
        expires_at, known = self._found.get(prefix, (0.0, None))
        return known if monotonic() < expires_at else None

    def _look_up(self, prefix: str) -> StoredKey | None:
        noted = func.coalesce(ApiKey.last_used_at > func.now() - _NOTED_FOR, False)
        columns = (ApiKey.id, ApiKey.project_id, ApiKey.scopes, ApiKey.digest, ApiKey.revoked_at, noted.label("noted"))
        with self._engine.connect() as connection:
            row = connection.execute(select(*columns).where(ApiKey.prefix == prefix)).one_or_none()
        if row is None:
            return None
        caller = Caller(row.id, row.project_id, frozenset(row.scopes))
        return StoredKey(caller, row.digest, revoked=row.revoked_at is not None, use_is_noted=row.noted)

    def _remember(self, prefix: str, key: StoredKey) -> None:
        if len(self._found) >= _MOST_REMEMBERED:
            self._found.clear()
        self._found[prefix] = (monotonic() + self._remember_s, key)

    def forget(self) -> None:
        """Ask Postgres again for every key: one was revoked."""
        self._found.clear()

    def note_use(self, key_id: UUID) -> None:
        """Record that the key is used now."""
        with transaction(self._engine) as session:
            session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=func.now()))
        for prefix, (expires_at, key) in list(self._found.items()):
            if key.caller.key_id == key_id:
                self._found[prefix] = (expires_at, replace(key, use_is_noted=True))


def add(session: Session, key: ApiKey) -> ApiKey:
    """Insert a key."""
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def by_digest(session: Session, digest: str) -> ApiKey | None:
    """The valid key with this digest."""
    return session.scalar(select(ApiKey).where(ApiKey.digest == digest, ApiKey.revoked_at.is_(None)))


def by_prefix(session: Session, prefix: str) -> ApiKey | None:
    """The key with this prefix, revoked or not."""
    return session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))


def page(session: Session, project_id: UUID, after: Position | None, count: int) -> Sequence[ApiKey]:
    """Keys of the project, newest first."""
    query = select(ApiKey).where(ApiKey.project_id == project_id)
    return session.scalars(newest_first(query, ApiKey, after, count)).all()


def revoke(session: Session, key: ApiKey) -> None:
    """Make a key invalid from the commit on; doing it again changes nothing."""
    values = {"revoked_at": func.coalesce(ApiKey.revoked_at, func.now())}
    session.execute(update(ApiKey).where(ApiKey.id == key.id).values(values))
