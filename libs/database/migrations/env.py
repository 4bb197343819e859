"""Alembic's entry: `libs.database.migrate` hands over an open connection, whose transaction it ends."""

from alembic import context

from libs.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_server_default=False,
    transaction_per_migration=False,
)
context.run_migrations()
