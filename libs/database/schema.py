"""Whether a database has this code's schema: asked by every service when it starts, so without Alembic, whose import
takes longer than the question."""

import time
from functools import cache
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_AGAIN_S = 0.5
_LETS_NOBODY_IN = "password authentication failed"  # waiting helps nothing; psycopg keeps no code of this error


class SchemaMismatch(Exception):
    """The database is not at this code's migration; the message says what to do."""


class DatabaseUnavailable(Exception):
    """Postgres did not answer, or let nobody in; the message repeats what it said."""


@cache
def revisions() -> tuple[str, ...]:
    """Migrations this code knows, oldest first: their files begin with their number."""
    return tuple(sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py")))


def wanted_revision() -> str:
    """The migration this code wants."""
    return revisions()[-1]


def schema_revision(engine: Engine) -> str | None:
    """The migration the database is at; None when it was never migrated."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def mismatch(found: str | None) -> str | None:
    """What is wrong with a database at this migration, and what to do; None when nothing is."""
    if found == wanted_revision():
        return None
    if found is None or found in revisions():
        return (
            f"The database is at migration {found or 'none'}, this code wants {wanted_revision()}: "
            "run `python -m libs.database.migrate upgrade`."
        )
    return (
        f"The database is at migration {found}, which this code does not know; its newest is {wanted_revision()}. "
        "A newer Octavo has migrated it: run that version."
    )


def refuse_newer(found: str | None) -> None:
    """Nothing, unless a database at this migration belongs to a newer version.

    Raises:
        SchemaMismatch: it does.
    """
    if found is not None and found not in revisions():
        raise SchemaMismatch(mismatch(found))


def require_schema(engine: Engine, wait_s: float) -> None:
    """Return once the database answers and has this code's schema.

    Args:
        wait_s: how long Postgres may take to answer; it may be starting too.

    Raises:
        DatabaseUnavailable: it did not answer by then.
        SchemaMismatch: it has another schema.
    """
    problem = mismatch(wait_for_database(engine, wait_s))
    if problem is not None:
        raise SchemaMismatch(problem)


def wait_for_database(engine: Engine, wait_s: float) -> str | None:
    """The migration of the database, once it answers.

    Raises:
        DatabaseUnavailable: it did not within `wait_s`.
    """
    gives_up_at = time.monotonic() + wait_s
    while True:
        try:
            return schema_revision(engine)
        except OperationalError as error:
            if _LETS_NOBODY_IN in str(error.orig) or time.monotonic() >= gives_up_at:
                where = f"{engine.url.host}:{engine.url.port or 5432}"
                raise DatabaseUnavailable(f"Postgres at {where} cannot be used: {_reason(error)}") from None
        time.sleep(_AGAIN_S)


def _reason(error: OperationalError) -> str:
    """What psycopg says of the last address it tried, without its advice."""
    said = [line.strip() for line in str(error.orig).splitlines() if line.strip() and "Is the server" not in line]
    return said[-1].rpartition("failed: ")[2] if said else type(error.orig).__name__
