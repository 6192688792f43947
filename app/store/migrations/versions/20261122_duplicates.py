"""Signatures of texts, the bands they meet in, and how each version came to be."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_duplicates"
down_revision = "20261122_labelling"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "signatures",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("text_digest", sa.String(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("slots", sa.LargeBinary(), nullable=False),
        sa.Column("normal_digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["text_digest"], ["texts.digest"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("text_digest"),
    )
    op.create_table(
        "bands",
        sa.Column("band", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("signature_id", ROW_ID, nullable=False),
        sa.ForeignKeyConstraint(["signature_id"], ["signatures.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("band", "signature_id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("bands", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_bands_signature_id"), ["signature_id"], unique=False)
    op.create_table(
        "transformations",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("activity", sa.String(), nullable=False),
        sa.Column("input_digest", sa.String(), nullable=False),
        sa.Column("output_digest", sa.String(), nullable=False),
        sa.Column("software", sa.Text(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("version_id", "ordinal"),
    )
    op.create_index(op.f("ix_versions_text_digest"), "versions", ["text_digest"], unique=False)
    op.add_column("jobs", sa.Column("submitted_through", sa.String(), nullable=True))
