"""SQL that the nouns share."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session

from libs.database.tables import Base
from libs.web.paging import Position

Table = TypeVar("Table", bound=Base)


def newest_first(
    query: Select[*tuple[Any, ...]], table: Any, after: Position | None, count: int
) -> Select[*tuple[Any, ...]]:
    """The `count` rows that follow `after` in the order (created_at, id), newest first."""
    if after is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(after.created_at, after.id))
    return query.order_by(table.created_at.desc(), table.id.desc()).limit(count)


def owned(session: Session, table: type[Table], project_id: UUID, row_id: UUID) -> Table | None:
    """The row with this id, if it belongs to the project."""
    columns: Any = table
    return session.scalar(select(table).where(columns.id == row_id, columns.project_id == project_id))
