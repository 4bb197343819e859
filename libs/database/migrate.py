"""Bring a database to this code's schema: `python -m libs.database.migrate upgrade|downgrade|check`."""

import sys
from pathlib import Path

import typer
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from libs.database import triggers
from libs.database.engine import make_engine
from libs.database.schema import refuse_newer
from libs.database.tables import Base

_LOCK = 0x0C7A_0001  # one migrating process at a time, whoever starts first
app = typer.Typer(add_completion=False, no_args_is_help=True)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate up, in one transaction; a second caller waits for the first and then finds nothing to do.

    Raises:
        SchemaMismatch: a newer version has migrated it.
    """
    with engine.begin() as connection:
        _lock(connection)
        refuse_newer(_revision(connection))
        command.upgrade(_config(connection), revision)
        if _revision(connection) == head():
            triggers.install(connection)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision` (`base`: empty). Data of the tables that go is lost."""
    with engine.begin() as connection:
        _lock(connection)
        command.downgrade(_config(connection), revision)


def _lock(connection: Connection) -> None:
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def head() -> str:
    """Revision this code wants."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("libs/database/migrations/versions holds no migration; the installation is incomplete")
    return revision


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def current(engine: Engine) -> str | None:
    """Revision the database is at; None when it is empty."""
    with engine.connect() as connection:
        return _revision(connection)


def differences(engine: Engine) -> list[str]:
    """What the database's schema lacks, or has too much, against the tables of this code; empty when equal."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = [str(difference) for difference in compare_metadata(context, Base.metadata)]
        return found + [f"trigger function {name} is not this version's" for name in triggers.outdated(connection)]


@app.command("upgrade")
def _upgrade(revision: str = "head") -> None:
    """Bring the database up to REVISION."""
    upgrade(make_engine(application="octavo-migrate"), revision)


@app.command("downgrade")
def _downgrade(revision: str) -> None:
    """Bring the database down to REVISION; `base` empties it."""
    downgrade(make_engine(application="octavo-migrate"), revision)


@app.command("check")
def _check() -> None:
    """Exit 1 and say why unless the database has exactly this code's schema."""
    engine = make_engine(application="octavo-migrate")
    found, wanted = current(engine), head()
    problems = [] if found == wanted else [f"database is at revision {found or 'none'}, this code wants {wanted}"]
    problems += differences(engine) if found else []
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        typer.echo("Run `python -m libs.database.migrate upgrade`.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    app()
