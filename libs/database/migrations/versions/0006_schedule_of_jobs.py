"""A job names the schedule that submitted it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OF_KNOWN_RUNS = """
WITH made AS (
    SELECT run.job_id, schedules.name FROM schedule_runs run JOIN schedules ON schedules.id = run.schedule_id
), checked AS (
    SELECT job_dependencies.depends_on AS job_id, made.name FROM made JOIN job_dependencies USING (job_id)
)
UPDATE jobs SET schedule = known.name
FROM (SELECT * FROM made UNION SELECT * FROM checked) known WHERE jobs.id = known.job_id
"""
"""The jobs of the runs that are kept, and the validations those waited for."""


def upgrade() -> None:
    op.add_column("jobs", sa.Column("schedule", sa.Text(), nullable=True))
    op.execute(_OF_KNOWN_RUNS)
    op.create_index(
        "ix_jobs_schedule",
        "jobs",
        ["project_id", "schedule", sa.text("created_at DESC"), sa.text("id DESC")],
        postgresql_where=sa.text("schedule IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_schedule", "jobs")
    op.drop_column("jobs", "schedule")
