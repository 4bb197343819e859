"""Jobs keep the request and the trace they came from, and since when they have been queued."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("request_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("traceparent", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("queued_at", _TIME, nullable=True))
    op.execute("UPDATE jobs SET queued_at = coalesce(rung_at, created_at) WHERE status = 'queued'")
    op.drop_index("ix_jobs_open", table_name="jobs")
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["status", "queue"],
        postgresql_where=sa.text("status IN ('retry_wait','waiting','paused')"),
    )
    op.create_index("ix_jobs_queued", "jobs", ["queued_at", "queue"], postgresql_where=sa.text("status = 'queued'"))


def downgrade() -> None:
    op.drop_index("ix_jobs_queued", table_name="jobs")
    op.drop_index("ix_jobs_open", table_name="jobs")
    op.create_index(
        "ix_jobs_open",
        "jobs",
        ["status", "queue"],
        postgresql_where=sa.text("status IN ('queued','retry_wait','waiting')"),
    )
    for name in ("queued_at", "traceparent", "request_id"):
        op.drop_column("jobs", name)
