"""Sources, their runs and items, and the principals of other directories."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_sources"
down_revision = "20261122_erasure"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STILL_OPEN = sa.text("recorded_to = 253402300799999")


def upgrade() -> None:
    op.create_table(
        "foreign_principals",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("foreign_principals", schema=None) as batch_op:
        batch_op.create_index(
            "uq_foreign_principals_open",
            ["namespace", "kind", "value"],
            unique=True,
            sqlite_where=STILL_OPEN,
            postgresql_where=STILL_OPEN,
        )

    op.create_table(
        "sources",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_run_at", sa.BigInteger(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("cursor_of", sa.String(), nullable=True),
        sa.Column("watched", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("collection", "name"),
    )
    with op.batch_alter_table("sources", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sources_next_run_at"), ["next_run_at"], unique=False)

    op.create_table(
        "source_items",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("source_id", ROW_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("etag", sa.String(), nullable=True),
        sa.Column("digest", sa.String(), nullable=True),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=True),
        sa.Column("acl", sa.JSON(), nullable=True),
        sa.Column("document_id", ROW_ID, nullable=True),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
        ),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "key"),
    )
    with op.batch_alter_table("source_items", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_source_items_document_id"), ["document_id"], unique=False)
        batch_op.create_index("ix_source_items_seen", ["source_id", "run_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_source_items_source_id"), ["source_id"], unique=False)

    op.create_table(
        "source_run_items",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("document_id", ROW_ID, nullable=True),
        sa.Column("job_id", sa.String(), nullable=True),
        sa.Column("stated", sa.JSON(), nullable=False),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "key", "token"),
    )
    with op.batch_alter_table("source_run_items", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_source_run_items_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_source_run_items_run_id"), ["run_id"], unique=False)

    op.create_table(
        "source_run_unchanged",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("boundary_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["boundary_id"],
            ["boundaries.id"],
        ),
        sa.PrimaryKeyConstraint("run_id", "boundary_id"),
    )
    op.create_table(
        "source_runs",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source_id", ROW_ID, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("triggered_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("listed_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("cancelling", sa.Boolean(), nullable=False),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("source_runs", schema=None) as batch_op:
        batch_op.create_index("ix_source_runs_open", ["state", "seq"], unique=False)
        batch_op.create_index(batch_op.f("ix_source_runs_source_id"), ["source_id"], unique=False)

    op.create_table(
        "source_settings",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("source_id", ROW_ID, nullable=False),
        sa.Column("connector", sa.String(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("schedule", sa.String(), nullable=True),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("proof", sa.String(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("source_settings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_source_settings_source_id"), ["source_id"], unique=False)
        batch_op.create_index(
            "uq_source_settings_open", ["source_id"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )


def downgrade() -> None:
    with op.batch_alter_table("source_settings", schema=None) as batch_op:
        batch_op.drop_index("uq_source_settings_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_source_settings_source_id"))

    op.drop_table("source_settings")
    with op.batch_alter_table("source_runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_source_runs_source_id"))
        batch_op.drop_index("ix_source_runs_open")

    op.drop_table("source_runs")
    op.drop_table("source_run_unchanged")
    with op.batch_alter_table("source_run_items", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_source_run_items_run_id"))
        batch_op.drop_index(batch_op.f("ix_source_run_items_job_id"))

    op.drop_table("source_run_items")
    with op.batch_alter_table("source_items", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_source_items_source_id"))
        batch_op.drop_index("ix_source_items_seen")
        batch_op.drop_index(batch_op.f("ix_source_items_document_id"))

    op.drop_table("source_items")
    with op.batch_alter_table("sources", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sources_next_run_at"))

    op.drop_table("sources")
    with op.batch_alter_table("foreign_principals", schema=None) as batch_op:
        batch_op.drop_index("uq_foreign_principals_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)

    op.drop_table("foreign_principals")
