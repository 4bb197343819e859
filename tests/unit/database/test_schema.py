"""The look at the schema that every service takes when it starts."""

import pytest
from sqlalchemy import Engine, make_url, text

from libs.database import migrate, schema
from libs.database.engine import make_engine
from libs.database.schema import DatabaseUnavailable, SchemaMismatch
from libs.database.tables import Base


def test_every_row_belongs_to_a_project_or_to_a_row_that_does():
    """But for projects themselves and workers, which take jobs of all."""
    tables = {name: table for name, table in Base.metadata.tables.items() if name not in ("projects", "workers")}
    owned = {name for name, table in tables.items() if "project_id" in table.c}
    assert not any(tables[name].c.project_id.nullable for name in owned)
    for name, table in tables.items():
        needed = {key.column.table.name for column in table.c if not column.nullable for key in column.foreign_keys}
        assert needed & {*owned, "projects"}, name


def test_the_wanted_migration_is_alembics_head():
    assert schema.wanted_revision() == migrate.head()


def test_a_migrated_database_is_accepted(engine: Engine):
    schema.require_schema(engine, 0.0)


def test_an_older_and_an_empty_one_are_to_be_migrated(engine: Engine):
    for change in ("UPDATE alembic_version SET version_num = '0001'", "DROP TABLE alembic_version"):
        with engine.begin() as connection:
            connection.execute(text(change))
        with pytest.raises(SchemaMismatch, match="migrate upgrade"):
            schema.require_schema(engine, 0.0)


def test_a_newer_one_is_neither_used_nor_migrated(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for look in (lambda: schema.require_schema(engine, 0.0), lambda: migrate.upgrade(engine)):
        with pytest.raises(SchemaMismatch, match=r"9999, which this code does not know.* A newer Octavo"):
            look()


def test_a_database_that_is_away_is_named():
    engine = make_engine("postgresql+psycopg://octavo@127.0.0.1:1/octavo")
    with pytest.raises(DatabaseUnavailable, match=r"Postgres at 127\.0\.0\.1:1 cannot be used: .*refused"):
        schema.require_schema(engine, 0.0)


def test_a_wrong_password_is_not_waited_for(postgres_url: str):
    engine = make_engine(make_url(postgres_url).set(password="wrong").render_as_string(hide_password=False))
    with pytest.raises(DatabaseUnavailable, match="password authentication failed"):
        schema.require_schema(engine, 3600.0)
    engine.dispose()
