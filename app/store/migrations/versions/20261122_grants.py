"""What people give each other for a time, and what somebody is to hear of."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_grants"
down_revision = "20261122_originals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("epochs", sa.Column("grants", sa.BigInteger(), nullable=False, server_default="1"))
    op.create_table(
        "grants",
        sa.Column("id", sqlmodel.AutoString(), primary_key=True),
        sa.Column("kind", sqlmodel.AutoString(), nullable=False),
        sa.Column("subject", sqlmodel.AutoString(), nullable=False),
        sa.Column("collections", sa.JSON(), nullable=False),
        sa.Column("waives", sa.JSON(), nullable=False),
        sa.Column("purpose", sqlmodel.AutoString(), nullable=True),
        sa.Column("client", sqlmodel.AutoString(), nullable=True),
        sa.Column("destination", sqlmodel.AutoString(), nullable=True),
        sa.Column("obligations", sa.JSON(), nullable=False),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
        sa.Column("revoked_by", sqlmodel.AutoString(), nullable=True),
    )
    op.create_index("ix_grants_subject", "grants", ["subject"])
    still_open = sa.text("recorded_to = 253402300799999")
    op.create_index(
        "uq_grants_open", "grants", ["id"], unique=True, sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("public_id", sqlmodel.AutoString(), nullable=False, unique=True),
        sa.Column("recipient", sqlmodel.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.AutoString(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_notices_recipient", "notices", ["recipient"])


def downgrade() -> None:
    op.drop_table("notices")
    op.drop_table("grants")
    op.drop_column("epochs", "grants")
