"""What people are asked when a rule refuses, what they decide, and who is told over the web."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_recourse"
down_revision = "20261122_keys"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sqlmodel.AutoString(), nullable=nullable)


def _long(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def upgrade() -> None:
    op.add_column("notices", sa.Column("passed_on", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_notices_passed_on", "notices", ["passed_on"])
    op.create_table(
        "escalations",
        sa.Column("seq", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("id", sqlmodel.AutoString(), nullable=False, unique=True),
        _text("kind"),
        _text("subject"),
        sa.Column("actors", sa.JSON(), nullable=False),
        _text("proof"),
        _text("team", nullable=True),
        _text("trace", nullable=True),
        sa.Column("asked_through", sa.JSON(), nullable=False),
        _text("collection", nullable=True),
        _text("document", nullable=True),
        _text("citation", nullable=True),
        _text("purpose", nullable=True),
        _text("client", nullable=True),
        _text("destination", nullable=True),
        sa.Column("codes", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("shares_question", sa.Boolean(), nullable=False),
        _long("wanted_until", nullable=True),
        _long("wanted_minutes", nullable=True),
        _text("state"),
        _long("opened_at"),
        _long("remind_at", nullable=True),
        _long("raise_at", nullable=True),
        _long("expires_at"),
        _long("closed_at", nullable=True),
        _text("grant_id", nullable=True),
        _long("due_at", nullable=True),
    )
    op.create_index("ix_escalations_subject", "escalations", ["subject", "seq"])
    op.create_index("ix_escalations_due", "escalations", ["due_at"])
    for column in ("trace", "document", "state", "grant_id"):
        op.create_index(f"ix_escalations_{column}", "escalations", [column])
    op.create_table(
        "escalation_seats",
        sa.Column("escalation", sqlmodel.AutoString(), sa.ForeignKey("escalations.id"), primary_key=True),
        sa.Column("desk", sa.Integer(), primary_key=True),
        sa.Column("ref", sqlmodel.AutoString(), primary_key=True),
    )
    op.create_index("ix_escalation_seats_ref", "escalation_seats", ["ref"])
    op.create_table(
        "escalation_decisions",
        sa.Column("escalation", sqlmodel.AutoString(), sa.ForeignKey("escalations.id"), primary_key=True),
        sa.Column("desk", sa.Integer(), primary_key=True),
        _text("by"),
        _text("verdict"),
        sa.Column("reason", sa.Text(), nullable=False),
        _long("until", nullable=True),
        _text("purpose", nullable=True),
        sa.Column("obligations", sa.JSON(), nullable=False),
        _long("at"),
    )
    op.create_table(
        "escalation_repeats",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("escalation", sqlmodel.AutoString(), sa.ForeignKey("escalations.id"), nullable=False),
        sa.Column("trace", sqlmodel.AutoString(), nullable=False, unique=True),
    )
    op.create_index("ix_escalation_repeats_escalation", "escalation_repeats", ["escalation"])
    op.create_table(
        "webhooks",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        _text("name"),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("recipients", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        _text("generation"),
        _long("recorded_from"),
        _long("recorded_to"),
        _text("recorded_by"),
    )
    still_open = sa.text("recorded_to = 253402300799999")
    op.create_index(
        "uq_webhooks_open", "webhooks", ["name"], unique=True, sqlite_where=still_open, postgresql_where=still_open
    )
    op.create_table(
        "deliveries",
        sa.Column("seq", _ROW_ID, primary_key=True, autoincrement=True),
        sa.Column("id", sqlmodel.AutoString(), nullable=False, unique=True),
        _text("webhook"),
        sa.Column("notice_id", _ROW_ID, sa.ForeignKey("notices.id"), nullable=False),
        _text("state"),
        sa.Column("tries", sa.Integer(), nullable=False),
        _long("next_at"),
        _text("problem", nullable=True),
        _long("ended_at", nullable=True),
        sa.UniqueConstraint("webhook", "notice_id"),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["state", "next_at"])
    op.create_index("ix_deliveries_notice_id", "deliveries", ["notice_id"])


def downgrade() -> None:
    for table in (
        "deliveries",
        "webhooks",
        "escalation_repeats",
        "escalation_decisions",
        "escalation_seats",
        "escalations",
    ):
        op.drop_table(table)
    op.drop_index("ix_notices_passed_on", "notices")
    op.drop_column("notices", "passed_on")
