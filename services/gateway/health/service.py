"""Whether this process can do its work, and what it is."""

import platform
from importlib.metadata import version

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from libs.database.schema import mismatch, schema_revision, wanted_revision
from libs.web.problems import UnavailableError
from services.gateway.health.schemas import Ready, Version


def readiness(engine: Engine) -> Ready:
    """Ready when the database answers and has this code's schema.

    Raises:
        UnavailableError: it does not; the message says what to do.
    """
    try:
        found = schema_revision(engine)
    except SQLAlchemyError:
        raise UnavailableError("Postgres does not answer.", code="database_unavailable") from None
    problem = mismatch(found)
    if problem is not None:
        raise UnavailableError(problem, code="schema_mismatch")
    return Ready(schema_revision=wanted_revision())


def about() -> Version:
    """What is running."""
    return Version(version=version("octavo"), python=platform.python_version(), schema_revision=wanted_revision())
