"""How a service starts, saying in one line why it cannot instead of in a traceback; and how it leaves."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from libs.database.engine import make_engine
from libs.database.schema import DatabaseUnavailable, SchemaMismatch, require_schema
from libs.registry.artifacts import ArtifactError, ArtifactRefused, ArtifactStore
from libs.settings import PlatformSettings, WrongSettings

log = structlog.get_logger("octavo.starting")


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


def leave_when_told() -> None:
    """From now on SIGTERM and SIGINT raise SystemExit with code 0, so that what this process has opened is closed.

    Uvicorn, once it has served its last request, sends itself the signal that stopped it: by the default handler the
    process would end there and then, with its last spans unsent.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def check_database(settings: PlatformSettings) -> None:
    """Wait for Postgres and look at its schema, by a connection of its own.

    Raises:
        DatabaseUnavailable: it does not answer within `start_wait_s`.
        SchemaMismatch: its schema is not this code's.
    """
    engine = make_engine(settings.database_url.get_secret_value(), application="octavo-start", pool_size=1)
    try:
        require_schema(engine, settings.start_wait_s)
    finally:
        engine.dispose()


def check_database_if_there(settings: PlatformSettings) -> None:
    """As `check_database`, for a service that can do something useful without Postgres: it is not waited for.

    Raises:
        SchemaMismatch: it answers, and its schema is not this code's.
    """
    try:
        check_database(settings.model_copy(update={"start_wait_s": 0.0}))
    except DatabaseUnavailable as error:
        log.warning("started_without_database", error=str(error))


def check_store(settings: PlatformSettings) -> None:
    """Look whether the artifact store lets this process in; one that does not answer is not waited for.

    Raises:
        ArtifactRefused: its credentials are wrong, or there are none.
    """
    try:
        ArtifactStore(settings.artifact_root).check()
    except ArtifactRefused:
        raise
    except ArtifactError as error:
        log.warning("started_without_artifact_store", error=str(error))
