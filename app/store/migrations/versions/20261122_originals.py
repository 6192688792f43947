"""Who has an original: asked at each submission and each erasure, while every other recording waits."""

from alembic import op

revision = "20261122_originals"
down_revision = "20261122_sources"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_blob", "jobs", ["blob"])
    op.create_index("ix_versions_digest", "versions", ["digest"])


def downgrade() -> None:
    op.drop_index("ix_versions_digest", "versions")
    op.drop_index("ix_jobs_blob", "jobs")
