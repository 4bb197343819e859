"""What the database says about itself."""

from sqlalchemy import Engine, text


def schema_revision(engine: Engine) -> str | None:
    """The migration the database is at; None when it was never migrated."""
    with engine.connect() as connection:
        if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
