"""Legal holds, erasures with their tombstones, and retention rules."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_erasure"
down_revision = "20261122_time"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STILL_OPEN = sa.text("recorded_to = 253402300799999")


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("matter", sa.Text(), nullable=True),
        sa.Column("documents", sa.JSON(), nullable=False),
        sa.Column("collections", sa.JSON(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_holds_public_id"), ["public_id"], unique=False)
        batch_op.create_index(
            "uq_holds_open", ["public_id"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "retention_due",
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("collection"),
    )
    op.create_table(
        "retentions",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("retentions", schema=None) as batch_op:
        batch_op.create_index(
            "uq_retentions_open", ["collection"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "erasures",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("document_id", ROW_ID, nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("originals", sa.JSON(), nullable=False),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.Column("kept", sa.JSON(), nullable=False),
        sa.Column("probes", sa.JSON(), nullable=False),
        sa.Column("index_rewritten", sa.Boolean(), nullable=False),
        sa.Column("certificate", sa.JSON(), nullable=True),
        sa.Column("certificate_digest", sa.String(), nullable=True),
        sa.Column("claimed_by", sa.String(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("erasures", schema=None) as batch_op:
        batch_op.create_index("ix_erasures_collection", ["collection", "seq"], unique=False)
        batch_op.create_index(batch_op.f("ix_erasures_document_id"), ["document_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_erasures_state"), ["state"], unique=False)

    op.create_table(
        "erased_versions",
        sa.Column("version_id", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("erasure", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("text_digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["erasure"],
            ["erasures.id"],
        ),
        sa.PrimaryKeyConstraint("version_id"),
    )
    with op.batch_alter_table("erased_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_erased_versions_digest"), ["digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_erased_versions_erasure"), ["erasure"], unique=False)

    op.create_table(
        "tombstones",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("mark", sa.String(), nullable=False),
        sa.Column("erasure", sa.String(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("readmitted_by", sa.String(), nullable=True),
        sa.Column("readmit_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["erasure"],
            ["erasures.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tombstones_erasure"), ["erasure"], unique=False)
        batch_op.create_index(
            "uq_tombstones_open", ["mark"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )


def downgrade() -> None:
    with op.batch_alter_table("tombstones", schema=None) as batch_op:
        batch_op.drop_index("uq_tombstones_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_tombstones_erasure"))

    op.drop_table("tombstones")
    with op.batch_alter_table("erased_versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_erased_versions_erasure"))
        batch_op.drop_index(batch_op.f("ix_erased_versions_digest"))

    op.drop_table("erased_versions")
    with op.batch_alter_table("erasures", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_erasures_state"))
        batch_op.drop_index(batch_op.f("ix_erasures_document_id"))
        batch_op.drop_index("ix_erasures_collection")

    op.drop_table("erasures")
    with op.batch_alter_table("retentions", schema=None) as batch_op:
        batch_op.drop_index("uq_retentions_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)

    op.drop_table("retentions")
    op.drop_table("retention_due")
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.drop_index("uq_holds_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_holds_public_id"))

    op.drop_table("holds")
