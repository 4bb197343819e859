"""Which of the deployments that share requests answered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLE, _INDEX = "recommendations", "ix_recommendations_deployment"


def upgrade() -> None:
    for name in ("arm", "stands_in_for"):
        op.add_column(_TABLE, sa.Column(name, sa.Text(), nullable=True))
    op.create_index(_INDEX, _TABLE, ["project_id", "deployment", "created_at"])


def downgrade() -> None:
    op.drop_index(_INDEX, _TABLE)
    for name in ("stands_in_for", "arm"):
        op.drop_column(_TABLE, name)
