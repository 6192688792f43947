"""Golden questions and evaluations, what found nothing, and when a citation last left."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_evaluation"
down_revision = "20261122_recourse"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FOUND_NOTHING = sa.text("kind = 'retrieve' AND outcome = 'empty'")


def upgrade() -> None:
    op.create_table(
        "golden_questions",
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("who", sa.String(), nullable=True),
        sa.Column("purpose", sa.String(), nullable=True),
        sa.Column("as_of", sa.BigInteger(), nullable=True),
        sa.Column("expects", sa.JSON(), nullable=False),
        sa.Column("slice", sa.String(), nullable=False),
        sa.Column("unanswerable", sa.Boolean(), nullable=False),
        sa.Column("stated_at", sa.BigInteger(), nullable=False),
        sa.Column("stated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("collection", "name"),
    )
    op.create_table(
        "evaluations",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("ranking", sa.JSON(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("reached", sa.JSON(), nullable=False),
        sa.Column("scored", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_evaluations_collection", "evaluations", ["collection", "seq"], unique=False)
    op.add_column("citations", sa.Column("cited_at", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE citations SET cited_at = created_at")
    op.create_index(
        "ix_traces_empty", "traces", ["at"], unique=False, sqlite_where=FOUND_NOTHING, postgresql_where=FOUND_NOTHING
    )


def downgrade() -> None:
    op.drop_index("ix_traces_empty", "traces")
    op.execute("DELETE FROM traces WHERE kind IN ('answer', 'evaluation')")  # the release before knows no such kinds
    op.drop_column("citations", "cited_at")
    op.drop_table("evaluations")
    op.drop_table("golden_questions")
