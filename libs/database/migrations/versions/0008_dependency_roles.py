"""What the model that one job makes is for the job that waits for it: its teacher, or a run that is compared."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_dependencies", sa.Column("role", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("job_dependencies", "role")
