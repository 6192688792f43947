"""Workers that say that they live, and jobs that know how often they were tried, what they weigh and when to go on."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_durability"
down_revision = "20261122_recorded"
branch_labels = None
depends_on = None

STAGED = sa.text("number IS NULL")
COUNTS = ("size_bytes", "attempts", "setbacks", "crashes", "not_before")


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("jobs", sa.Column("collection", sa.String(), nullable=False, server_default=""))
    for name in COUNTS:
        op.add_column("jobs", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE jobs SET collection = (SELECT documents.collection FROM documents WHERE documents.id = jobs.document_id)"
    )
    op.create_index("ix_jobs_collection", "jobs", ["collection", "state", "seq"])
    op.create_index("ix_versions_staged", "versions", ["job_id"], sqlite_where=STAGED, postgresql_where=STAGED)


def downgrade() -> None:
    op.drop_index("ix_versions_staged", "versions", sqlite_where=STAGED, postgresql_where=STAGED)
    op.drop_index("ix_jobs_collection", "jobs")
    for name in (*COUNTS, "collection"):
        op.drop_column("jobs", name)
    op.drop_table("workers")
