"""How a service starts: it says in one line why it cannot, instead of in a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from libs.database.engine import make_engine
from libs.database.schema import DatabaseUnavailable, SchemaMismatch, require_schema
from libs.settings import PlatformSettings, WrongSettings


@contextmanager
def starting(service: str) -> Iterator[None]:
    """What belongs to the start of `service`: read the settings, look at the database.

    Raises:
        SystemExit: code 1, with one line on stderr: a setting or a secret is wrong, a folder cannot be used,
            or the database is of no use.
    """
    try:
        yield
    except (WrongSettings, DatabaseUnavailable, SchemaMismatch, OSError) as error:
        sys.exit(f"octavo {service} does not start: {error}")


def check_database(settings: PlatformSettings, wait_s: float | None = None) -> None:
    """Wait for Postgres and look at its schema, by a connection of its own.

    Args:
        wait_s: how long to wait, in place of the setting.

    Raises:
        DatabaseUnavailable: it does not answer.
        SchemaMismatch: its schema is not this code's.
    """
    engine = make_engine(settings.database_url.get_secret_value(), application="octavo-start", pool_size=1)
    try:
        require_schema(engine, settings.start_wait_s if wait_s is None else wait_s)
    finally:
        engine.dispose()
