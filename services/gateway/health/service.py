"""Whether this process can do its work, and what it is."""

import platform
from functools import cache
from importlib.metadata import version

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from libs.database.migrate import head
from libs.web.problems import UnavailableError
from services.gateway.health import repository
from services.gateway.health.schemas import Ready, Version

wanted_revision = cache(head)


def readiness(engine: Engine) -> Ready:
    """Ready when the database answers and has this code's schema.

    Raises:
        UnavailableError: it does not; the message says what to do.
    """
    try:
        found = repository.schema_revision(engine)
    except SQLAlchemyError:
        raise UnavailableError("Postgres does not answer.", code="database_unavailable") from None
    if found != wanted_revision():
        raise UnavailableError(
            f"The database is at migration {found or 'none'}, this code wants {wanted_revision()}: "
            "run `python -m libs.database.migrate upgrade`.",
            code="schema_mismatch",
        )
    return Ready(schema_revision=found)


def about() -> Version:
    """What is running."""
    return Version(version=version("octavo"), python=platform.python_version(), schema_revision=wanted_revision())
