"""API keys as services other than the gateway read them. Never commits."""

from collections.abc import Iterable
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Engine, Select, func, select, update
from sqlalchemy.orm import Session

from libs.database.tables import ApiKey


class KnownKey(BaseModel):
    """An API key that was valid when it was read."""

    model_config = ConfigDict(frozen=True)

    key_id: UUID
    project_id: UUID
    prefix: str
    digest: str
    scopes: list[str]


def valid_keys(session: Session) -> list[KnownKey]:
    """Every key that is not revoked, of all projects."""
    return [_known(row) for row in session.scalars(_valid())]


def find_key(engine: Engine, prefix: str) -> KnownKey | None:
    """The valid key with this prefix."""
    with Session(engine) as session:
        row = session.scalar(_valid().where(ApiKey.prefix == prefix))
        return None if row is None else _known(row)


def note_uses(session: Session, key_ids: Iterable[UUID]) -> None:
    """Record that these keys are used now."""
    session.execute(update(ApiKey).where(ApiKey.id.in_(list(key_ids))).values(last_used_at=func.now()))


def _valid() -> Select[ApiKey]:
    return select(ApiKey).where(ApiKey.revoked_at.is_(None))


def _known(row: ApiKey) -> KnownKey:
    return KnownKey(
        key_id=row.id, project_id=row.project_id, prefix=row.prefix, digest=row.digest, scopes=list(row.scopes)
    )
