"""Alembic migrations, packaged with the code they belong to."""
