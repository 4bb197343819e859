"""SQL of the worker and the relay that belongs to neither the queue nor the registry."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast
from uuid import UUID

from psycopg import Connection, sql
from sqlalchemy import Engine, Row, select, text
from sqlalchemy.orm import Session

from libs.database.tables import DatasetVersion, Job
from libs.jobs.states import TERMINAL, JobStatus


def validated_version(session: Session, job_id: UUID) -> DatasetVersion | None:
    """The data-set version this job validates."""
    return session.scalar(select(DatasetVersion).where(DatasetVersion.validation_job_id == job_id))


def abandoned_versions(session: Session, limit: int = 100) -> Sequence[Row[DatasetVersion, Job]]:
    """Data-set versions still `validating` though their job has ended without a verdict."""
    both = select(DatasetVersion, Job).join(Job, Job.id == DatasetVersion.validation_job_id)
    ended = both.where(
        DatasetVersion.status == "validating",
        Job.status.in_(TERMINAL),
        Job.status != JobStatus.SUCCEEDED,
    )
    locked = ended.limit(limit).with_for_update(of=DatasetVersion, skip_locked=True)
    return session.execute(locked).all()


_EVENTS = sql.SQL(
    "COPY (SELECT coalesce(user_id, 'session:' || session_id) AS \"user\", item_id AS item, "
    "to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS timestamp "
    "FROM user_events WHERE project_id = {project} AND ({since}::timestamptz IS NULL OR occurred_at >= {since}) "
    "AND ({types}::text[] IS NULL OR type = ANY({types}::text[])) ORDER BY id LIMIT {limit}) "
    "TO STDOUT WITH (FORMAT csv, HEADER)"
)


def copy_events(
    engine: Engine,
    project_id: UUID,
    since: datetime | None,
    types: Sequence[str] | None,
    limit: int,
    file: Path,
    tick: Callable[[], None],
) -> int:
    """Write the oldest `limit` recorded events of a project as CSV, a block at a time; how many there were.

    Args:
        tick: called with each block; may raise to stop.
    """
    values = {"project": project_id, "since": since, "types": None if types is None else list(types), "limit": limit}
    statement = _EVENTS.format(**{name: sql.Literal(value) for name, value in values.items()})
    with engine.connect() as connection, file.open("wb") as out:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # so many rows take their time; they lock nothing
        driver = cast(Connection[tuple[object, ...]], connection.connection.driver_connection)
        with driver.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for block in copy:
                    tick()
                    out.write(block)
            return cursor.rowcount
