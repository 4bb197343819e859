"""What users did, what was recommended to them, and what became of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = postgresql.TIMESTAMP(timezone=True)
_CLOCK = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.create_table(
        "user_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("project_id", sa.UUID(), nullable=False),
        sa.Column("event_key", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False),
        sa.Column("received_at", _TIME, server_default=_CLOCK, nullable=False),
        sa.CheckConstraint("user_id IS NOT NULL OR session_id IS NOT NULL", name=op.f("ck_user_events_someone")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_user_events_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_events")),
        sa.UniqueConstraint("event_key", name=op.f("uq_user_events_event_key")),
    )
    for who in ("user", "session"):
        op.create_index(
            f"ix_user_events_{who}",
            "user_events",
            ["project_id", f"{who}_id", sa.text("occurred_at DESC"), sa.text("id DESC")],
            postgresql_where=sa.text(f"{who}_id IS NOT NULL"),
        )
    op.create_table(
        "recommendations",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("project_id", sa.UUID(), nullable=False),
        sa.Column("request_id", sa.UUID(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("history", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_recommendations_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendations")),
        sa.UniqueConstraint("request_id", name=op.f("uq_recommendations_request_id")),
    )
    op.create_index("ix_recommendations_model", "recommendations", ["project_id", "model", "created_at"])
    for who in ("user", "session"):
        op.create_index(
            f"ix_recommendations_{who}",
            "recommendations",
            ["project_id", f"{who}_id"],
            postgresql_where=sa.text(f"{who}_id IS NOT NULL"),
        )
    op.create_table(
        "feedback",
        sa.Column("recommendation_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("at", _TIME, server_default=_CLOCK, nullable=False),
        sa.CheckConstraint("kind IN ('impression','click','conversion')", name=op.f("ck_feedback_kind_known")),
        sa.ForeignKeyConstraint(
            ["recommendation_id"],
            ["recommendations.id"],
            name=op.f("fk_feedback_recommendation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("recommendation_id", "kind", "rank", name=op.f("pk_feedback")),
    )


def downgrade() -> None:
    op.drop_table("feedback")
    op.drop_table("recommendations")
    op.drop_table("user_events")
