"""A real Postgres for tests: one server a test session, a database of its own for each test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from libs.database.engine import make_engine
from libs.database.migrate import upgrade
from services.local.postgres import LocalPostgres

_TEMPLATE = "octavo_template"


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that an unprivileged server can reach."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def postgres_server(major: int | None = None) -> Iterator[LocalPostgres]:
    """A fresh server with the migrated template in it; it ends with the block."""
    settings = {"max_connections": "200", "autovacuum": "off"}  # a vacuum would hold a database that is to be dropped
    with (
        open_folder("octavo-postgres-") as folder,
        LocalPostgres(folder, major=major, fsync=False, settings=settings) as server,
    ):
        _execute(server.url, f"CREATE DATABASE {_TEMPLATE}")
        engine = make_engine(server.url_of(_TEMPLATE))
        upgrade(engine)
        engine.dispose()
        yield server


@contextmanager
def cloned_database(server_url: str, template: str = _TEMPLATE) -> Iterator[str]:
    """URL of a fresh database, dropped when the block ends."""
    name = f"test_{uuid4().hex}"
    _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server_url: str, statement: str) -> None:
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement.encode())
