"""Indexes for pages: a job's changes of state among its events, and where models come from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_job_events_moves", "job_events", ["job_id", "seq"], postgresql_where=sa.text("kind = 'status'"))
    op.create_index("ix_model_versions_digest", "model_versions", ["digest"])
    parents = sa.text("jsonb_path_query_array(lineage, '$.parent_digests.*')")
    op.create_index("ix_model_versions_parents", "model_versions", [parents], postgresql_using="gin")
    op.create_index("ix_dataset_versions_digest", "dataset_versions", ["digest"])
    op.create_index("ix_dataset_versions_content", "dataset_versions", [sa.text("(manifest ->> 'digest')")])


def downgrade() -> None:
    op.drop_index("ix_dataset_versions_content", table_name="dataset_versions")
    op.drop_index("ix_dataset_versions_digest", table_name="dataset_versions")
    op.drop_index("ix_model_versions_parents", table_name="model_versions")
    op.drop_index("ix_model_versions_digest", table_name="model_versions")
    op.drop_index("ix_job_events_moves", table_name="job_events")
