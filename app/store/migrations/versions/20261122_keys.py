"""What API keys are good for and until when, and what other directories say of users and groups."""

from typing import Any

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_keys"
down_revision = "20261122_oidc"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("actions", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("keys", sa.Column("collections", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("keys", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("keys", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("retires_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("last_used", sa.BigInteger(), nullable=True))
    op.add_column("memberships", sa.Column("display", sa.Text(), nullable=True))
    op.create_table(
        "provisioned",
        sa.Column("row_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sqlmodel.AutoString(), nullable=False),
        sa.Column("principal", sqlmodel.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.AutoString(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unique_name", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("clearance", sqlmodel.AutoString(), nullable=True),
        sa.Column("categories", sa.JSON(), nullable=True),
        sa.Column("jurisdictions", sa.JSON(), nullable=True),
        sa.Column("team", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
    )
    still_open: dict[str, Any] = dict.fromkeys(
        ("sqlite_where", "postgresql_where"), sa.text("recorded_to = 253402300799999")
    )
    op.create_index("uq_provisioned_open", "provisioned", ["id"], unique=True, **still_open)
    op.create_index("uq_provisioned_unique_name", "provisioned", ["unique_name"], unique=True, **still_open)
    for column in ("name", "display_name", "external_id"):
        op.create_index(f"ix_provisioned_{column}", "provisioned", [column], **still_open)
    op.create_index("ix_provisioned_principal", "provisioned", ["principal"])


def downgrade() -> None:
    """INVARIANT: what is limited, or ends by time, is revoked: without these columns it would be good for everything."""
    op.execute(
        "UPDATE keys SET recorded_to = (SELECT instant FROM epochs) WHERE recorded_to = 253402300799999 AND "
        "(CAST(actions AS TEXT) <> '[]' OR CAST(collections AS TEXT) <> '[]' "
        "OR expires_at IS NOT NULL OR retires_at IS NOT NULL)"
    )
    op.drop_table("provisioned")
    op.drop_column("memberships", "display")
    for column in ("last_used", "retires_at", "expires_at", "note", "collections", "actions"):
        op.drop_column("keys", column)
