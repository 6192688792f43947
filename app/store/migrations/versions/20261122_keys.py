"""What API keys are good for and until when, and what other directories say of users and groups."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_keys"
down_revision = "20261122_grants"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("actions", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("keys", sa.Column("collections", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("keys", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column("keys", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("retires_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("last_used", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for column in ("last_used", "retires_at", "expires_at", "note", "collections", "actions"):
        op.drop_column("keys", column)
