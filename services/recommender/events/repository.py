"""Writing events: however many there are, one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text


class NewEvent(NamedTuple):
    """A row to be."""

    event_key: UUID
    user_id: str | None
    session_id: str | None
    item_id: str
    type: str
    occurred_at: datetime


class AddedEvent(NamedTuple):
    """A row that is new."""

    id: int
    session_id: str | None
    item_id: str
    occurred_at: datetime


# Arrays and no list of values: one short statement for any number of rows. Ids follow the sender's order.
_INSERT = text("""
    INSERT INTO user_events (project_id, event_key, user_id, session_id, item_id, type, occurred_at)
    SELECT CAST(:project_id AS uuid), event_key, user_id, session_id, item_id, type, occurred_at
    FROM unnest(
        CAST(:event_key AS uuid[]), CAST(:user_id AS text[]), CAST(:session_id AS text[]), CAST(:item_id AS text[]),
        CAST(:type AS text[]), CAST(:occurred_at AS timestamptz[])
    ) WITH ORDINALITY AS sent (event_key, user_id, session_id, item_id, type, occurred_at, place)
    ORDER BY place
    ON CONFLICT (event_key) DO NOTHING
    RETURNING id, session_id, item_id, occurred_at
""")


def insert(connection: Connection, project_id: UUID, events: Sequence[NewEvent]) -> list[AddedEvent]:
    """Store the events whose key is new, the first of those that share one."""
    columns = {name: [getattr(event, name) for event in events] for name in NewEvent._fields}
    rows = connection.execute(_INSERT, {"project_id": project_id, **columns})
    return [AddedEvent(*row) for row in rows]
