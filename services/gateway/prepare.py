"""Before any service starts: `python -m services.gateway.prepare` brings the database to this code's schema, and makes
the key in the file `OCTAVO_GATEWAY_FIRST_KEY_FILE` an admin key.

Any number may run, at any time: there is nothing to do the second time.
"""

from pathlib import Path

import structlog
from sqlalchemy import Engine

from libs.database.engine import make_engine, transaction
from libs.database.migrate import upgrade
from libs.database.schema import refuse_newer, wait_for_database, wanted_revision
from libs.logs import configure_logs
from libs.settings import WrongSettings
from libs.starting import starting
from services.gateway.keys.service import adopt_key
from services.gateway.settings import gateway_settings

log = structlog.get_logger("octavo.prepare")


def main() -> None:
    """Prepare the database of the environment."""
    configure_logs("prepare")
    with starting("prepare"):
        settings = gateway_settings()
        engine = make_engine(settings.platform.database_url.get_secret_value(), application="octavo-prepare")
        migrate(engine, settings.platform.start_wait_s)
        if settings.first_key_file is not None:
            adopt(engine, settings.first_key_file)
        engine.dispose()


def migrate(engine: Engine, wait_s: float) -> None:
    """Bring the database to this code's schema, once Postgres answers.

    Raises:
        DatabaseUnavailable: it does not within `wait_s`.
        SchemaMismatch: a newer version has migrated it.
    """
    found = wait_for_database(engine, wait_s)
    refuse_newer(found)  # before Alembic logs a word
    upgrade(engine)
    log.info("migrated", before=found, now=wanted_revision())


def adopt(engine: Engine, file: Path) -> None:
    """Make the key in `file` valid.

    Raises:
        WrongSettings: the file cannot be read, or holds no key that can be made valid.
    """
    try:
        with transaction(engine) as session:
            adopt_key(session, file.read_text().strip())
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise WrongSettings(f"OCTAVO_GATEWAY_FIRST_KEY_FILE: {file}: {reason}") from None


if __name__ == "__main__":
    main()
