"""Label rules, what a label is made of, and collections without a default label."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_labelling"
down_revision = "20261122_parsing"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STILL_OPEN = sa.text("recorded_to = 253402300799999")


def upgrade() -> None:
    op.create_table(
        "label_rules",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "uq_label_rules_open",
        "label_rules",
        ["collection"],
        unique=True,
        sqlite_where=STILL_OPEN,
        postgresql_where=STILL_OPEN,
    )
    op.add_column("version_boundaries", sa.Column("causes", sa.JSON(), nullable=True))
    op.add_column("version_boundaries", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("versions", sa.Column("detected", sa.JSON(), nullable=True))
    with op.batch_alter_table("collections") as collections:
        collections.alter_column("level", existing_type=sa.String(), nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("collections") as collections:
        collections.alter_column("level", existing_type=sa.String(), nullable=False)
    op.drop_column("versions", "detected")
    op.drop_column("version_boundaries", "reason")
    op.drop_column("version_boundaries", "causes")
    op.drop_table("label_rules")
