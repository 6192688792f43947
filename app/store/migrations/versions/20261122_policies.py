"""Policy sets as versions with an author and a reason, who approved them, and the tables they are held against."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_policies"
down_revision = "20261122_grants"
branch_labels = None
depends_on = None


def upgrade() -> None:
    row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "policy_versions",
        sa.Column("id", sqlmodel.AutoString(), primary_key=True),
        sa.Column("digest", sqlmodel.AutoString(), sa.ForeignKey("policy_texts.digest"), nullable=False),
        sa.Column("author", sqlmodel.AutoString(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("based_on", sqlmodel.AutoString(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("discarded_at", sa.BigInteger(), nullable=True),
        sa.Column("discarded_by", sqlmodel.AutoString(), nullable=True),
    )
    op.create_table(
        "policy_approvals",
        sa.Column("version", sqlmodel.AutoString(), sa.ForeignKey("policy_versions.id"), primary_key=True),
        sa.Column("approver", sqlmodel.AutoString(), primary_key=True),
        sa.Column("digest", sqlmodel.AutoString(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "policy_tests",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("slot", sqlmodel.AutoString(), nullable=False),
        sa.Column("tables", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
    )
    still_open = sa.text("recorded_to = 253402300799999")
    op.create_index(
        "uq_policy_tests_open",
        "policy_tests",
        ["slot"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.add_column("policy_activations", sa.Column("version", sqlmodel.AutoString(), nullable=False, server_default=""))
    op.add_column("policy_activations", sa.Column("restores", sa.BigInteger(), nullable=True))
    # What decided before there were versions becomes one, of whoever activated it first.
    op.execute(
        "INSERT INTO policy_versions (id, digest, author, reason, created_at) "
        "SELECT 'pol_' || substr(digest, 1, 26), digest, recorded_by, reason, recorded_from FROM policy_activations "
        "WHERE id IN (SELECT min(id) FROM policy_activations GROUP BY digest)"
    )
    op.execute("UPDATE policy_activations SET version = 'pol_' || substr(digest, 1, 26)")


def downgrade() -> None:
    op.drop_column("policy_activations", "restores")
    op.drop_column("policy_activations", "version")
    op.drop_table("policy_tests")
    op.drop_table("policy_approvals")
    op.drop_table("policy_versions")
