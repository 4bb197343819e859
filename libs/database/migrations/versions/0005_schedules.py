"""Job requests that are submitted again and again, and what became of each time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_CLOCK = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("project_id", sa.UUID(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_CLOCK, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=True),
        sa.Column("every_s", sa.BigInteger(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("job", postgresql.JSONB(), nullable=False),
        sa.Column("dataset", postgresql.JSONB(), nullable=True),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("misfire", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("next_run_at", _TIME, nullable=True),
        sa.Column("refusals", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", _TIME, server_default=_CLOCK, nullable=False),
        sa.CheckConstraint("(cron IS NULL) <> (every_s IS NULL)", name=op.f("ck_schedules_one_rhythm")),
        sa.CheckConstraint("every_s >= 60", name=op.f("ck_schedules_at_most_each_minute")),
        sa.CheckConstraint("overlap IN ('skip','allow')", name=op.f("ck_schedules_overlap_known")),
        sa.CheckConstraint("misfire IN ('once','skip')", name=op.f("ck_schedules_misfire_known")),
        sa.CheckConstraint("status IN ('active','paused')", name=op.f("ck_schedules_status_known")),
        sa.CheckConstraint("(status = 'active') = (next_run_at IS NOT NULL)", name=op.f("ck_schedules_active_is_due")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_schedules_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_schedules_project_id_name")),
    )
    op.create_index("ix_schedules_due", "schedules", ["next_run_at"], postgresql_where=sa.text("status = 'active'"))
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("schedule_id", sa.UUID(), nullable=False),
        sa.Column("planned_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, server_default=_CLOCK, nullable=False),
        sa.Column("fired_by", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("job_id", sa.UUID(), nullable=True),
        sa.CheckConstraint("fired_by IN ('clock','user')", name=op.f("ck_schedule_runs_fired_by_known")),
        sa.CheckConstraint("outcome IN ('submitted','skipped','refused')", name=op.f("ck_schedule_runs_outcome_known")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_runs_schedule_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_schedule_runs_job_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_runs")),
        sa.UniqueConstraint("schedule_id", "planned_at", name=op.f("uq_schedule_runs_schedule_id_planned_at")),
    )
    op.create_index(
        "ix_schedule_runs_page", "schedule_runs", ["schedule_id", sa.text("created_at DESC"), sa.text("id DESC")]
    )
    op.create_index("ix_schedule_runs_job", "schedule_runs", ["job_id"], postgresql_where=sa.text("job_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
