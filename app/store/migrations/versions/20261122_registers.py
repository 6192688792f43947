"""Jurisdictions, transfer rules and consents; who answers for a purpose, and what it was registered for."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_registers"
down_revision = "20261122_policies"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("purposes", sa.Column("owner", sqlmodel.AutoString(), nullable=True))
    op.add_column("purposes", sa.Column("legal_basis", sa.Text(), nullable=True))
    op.add_column("purposes", sa.Column("categories", sa.JSON(), nullable=True))
    op.add_column("purposes", sa.Column("consent_required", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("purposes", sa.Column("review_by", sa.BigInteger(), nullable=True))
    op.create_table(
        "jurisdictions",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("name", sqlmodel.AutoString(), nullable=False),
        sa.Column("title", sqlmodel.AutoString(), nullable=False),
        sa.Column("within", sa.JSON(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
    )
    _one_open("jurisdictions", "name")
    op.create_table(
        "transfers",
        sa.Column("id", sqlmodel.AutoString(), primary_key=True),
        sa.Column("origin", sqlmodel.AutoString(), nullable=False),
        sa.Column("destination", sqlmodel.AutoString(), nullable=False),
        sa.Column("basis", sqlmodel.AutoString(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
        sa.Column("ended_by", sqlmodel.AutoString(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
    )
    _one_open("transfers", "origin", "destination")
    op.create_table(
        "consents",
        sa.Column("id", sqlmodel.AutoString(), primary_key=True),
        sa.Column("client", sqlmodel.AutoString(), nullable=False),
        sa.Column("purpose", sqlmodel.AutoString(), nullable=False),
        sa.Column("jurisdictions", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("given_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sqlmodel.AutoString(), nullable=False),
        sa.Column("withdrawn_by", sqlmodel.AutoString(), nullable=True),
        sa.Column("withdrawal_reason", sa.Text(), nullable=True),
    )
    _one_open("consents", "id")
    op.create_index("ix_consents_client", "consents", ["client", "purpose"])
    op.create_index("ix_consents_purpose", "consents", ["purpose"])


def downgrade() -> None:
    for table in ("consents", "transfers", "jurisdictions"):
        op.drop_table(table)
    for column in ("review_by", "consent_required", "categories", "legal_basis", "owner"):
        op.drop_column("purposes", column)


def _one_open(table: str, *columns: str) -> None:
    still_open = sa.text("recorded_to = 253402300799999")
    op.create_index(
        f"uq_{table}_open", table, [*columns], unique=True, sqlite_where=still_open, postgresql_where=still_open
    )
