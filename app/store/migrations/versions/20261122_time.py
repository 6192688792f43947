"""Time that can be trusted: reasons of corrections, supersession between documents, reviews."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_time"
down_revision = "20261122_duplicates"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STILL_OPEN = sa.text("recorded_to = 253402300799999")


def upgrade() -> None:
    op.add_column("periods", sa.Column("reason", sa.Text(), nullable=True))

    op.create_table(
        "supersessions",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("document_id", ROW_ID, nullable=False),
        sa.Column("successor_id", ROW_ID, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["document_id"], ["documents.id"]),
        sa.ForeignKeyConstraint(["successor_id"], ["documents.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("supersessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_supersessions_document_id"), ["document_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_supersessions_successor_id"), ["successor_id"], unique=False)
        batch_op.create_index(
            "uq_supersessions_open", ["document_id"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "reviews",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("reviews", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_reviews_version_id"), ["version_id"], unique=False)


def downgrade() -> None:
    op.drop_table("reviews")
    op.drop_table("supersessions")
    with op.batch_alter_table("periods", schema=None) as batch_op:
        batch_op.drop_column("reason")
