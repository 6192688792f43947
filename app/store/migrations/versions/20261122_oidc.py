"""Why a grant was given, in words."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_oidc"
down_revision = "20261122_registers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grants", sa.Column("reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("grants", "reason")
