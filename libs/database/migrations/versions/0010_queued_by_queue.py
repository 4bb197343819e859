"""Queued jobs by queue, then age: the first of each queue are found without passing those of another."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_QUEUED = sa.text("status = 'queued'")


def upgrade() -> None:
    op.drop_index("ix_jobs_queued", table_name="jobs")
    op.create_index("ix_jobs_queued", "jobs", ["queue", "queued_at"], postgresql_where=_QUEUED)


def downgrade() -> None:
    op.drop_index("ix_jobs_queued", table_name="jobs")
    op.create_index("ix_jobs_queued", "jobs", ["queued_at", "queue"], postgresql_where=_QUEUED)
