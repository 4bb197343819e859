"""An index of the events that are changes of a job's state."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_job_events_moves", "job_events", ["job_id", "seq"], postgresql_where=sa.text("kind = 'status'")
    )


def downgrade() -> None:
    op.drop_index("ix_job_events_moves", table_name="job_events")
