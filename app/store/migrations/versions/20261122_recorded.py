"""Everything that is recorded: the first schema."""

import sqlalchemy as sa
from alembic import op

revision = "20261122_recorded"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STILL_OPEN = sa.text("recorded_to = 253402300799999")


def upgrade() -> None:
    op.create_table(
        "boundaries",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("readers", sa.JSON(), nullable=False),
        sa.Column("denied", sa.JSON(), nullable=False),
        sa.Column("jurisdictions", sa.JSON(), nullable=False),
        sa.Column("purposes", sa.JSON(), nullable=False),
        sa.Column("consents", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    with op.batch_alter_table("boundaries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_boundaries_collection"), ["collection"], unique=False)

    op.create_table(
        "collections",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("owners", sa.JSON(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("default_readers", sa.JSON(), nullable=False),
        sa.Column("jurisdictions", sa.JSON(), nullable=False),
        sa.Column("purposes", sa.JSON(), nullable=False),
        sa.Column("discoverable", sa.Boolean(), nullable=False),
        sa.Column("system_of_record", sa.Boolean(), nullable=False),
        sa.Column("review_after_days", sa.Integer(), nullable=True),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("collections", schema=None) as batch_op:
        batch_op.create_index(
            "uq_collections_open", ["name"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "documents",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("public_id", sa.String(), nullable=False),
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("collection", "uri"),
        sa.UniqueConstraint("public_id"),
    )
    op.create_table(
        "embeddings",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "fingerprint"),
    )
    op.create_table(
        "epochs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("instant", sa.BigInteger(), nullable=False),
        sa.Column("policies", sa.BigInteger(), nullable=False),
        sa.Column("directory", sa.BigInteger(), nullable=False),
        sa.Column("boundaries", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_keys_principal"), ["principal"], unique=False)
        batch_op.create_index(
            "uq_keys_open", ["digest"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "memberships",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("member", sa.String(), nullable=False),
        sa.Column("parent", sa.String(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.create_index("ix_memberships_member", ["member", "recorded_from"], unique=False)
        batch_op.create_index(batch_op.f("ix_memberships_parent"), ["parent"], unique=False)
        batch_op.create_index(
            "uq_memberships_open",
            ["member", "parent"],
            unique=True,
            sqlite_where=STILL_OPEN,
            postgresql_where=STILL_OPEN,
        )

    op.create_table(
        "policy_texts",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("cedar", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "principals",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("display_name", sa.String(), nullable=False),
        sa.Column("clearance", sa.String(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("jurisdictions", sa.JSON(), nullable=False),
        sa.Column("purposes", sa.JSON(), nullable=False),
        sa.Column("collections", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("may_assert", sa.Boolean(), nullable=False),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("principals", schema=None) as batch_op:
        batch_op.create_index("ix_principals_ref", ["ref", "recorded_from"], unique=False)
        batch_op.create_index(
            "uq_principals_open", ["ref"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "purposes",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("purposes", schema=None) as batch_op:
        batch_op.create_index(
            "uq_purposes_open", ["name"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "texts",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "traces",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=True),
        sa.Column("proof", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("response", sa.JSON(), nullable=False),
        sa.Column("grounds", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.create_index("ix_traces_subject", ["subject", "seq"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("seq", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("document_id", ROW_ID, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=True),
        sa.Column("blob", sa.String(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("metadata_digest", sa.String(), nullable=False),
        sa.Column("submitted_by", sa.String(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
        ),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_batch"), ["batch"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_document_id"), ["document_id"], unique=False)
        batch_op.create_index("ix_jobs_open", ["state", "seq"], unique=False)

    op.create_table(
        "policy_activations",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["policy_texts.digest"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("policy_activations", schema=None) as batch_op:
        batch_op.create_index(
            "uq_policy_activations_open", ["slot"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "versions",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("document_id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("metadata_digest", sa.String(), nullable=False),
        sa.Column("text_digest", sa.String(), nullable=False),
        sa.Column("parser", sa.String(), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
        ),
        sa.ForeignKeyConstraint(
            ["text_digest"],
            ["texts.digest"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("document_id", "number"),
        sa.UniqueConstraint("job_id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_versions_document_id"), ["document_id"], unique=False)

    op.create_table(
        "chunks",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("embedded_digest", sa.String(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("boxes", sa.JSON(), nullable=False),
        sa.Column("section", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_chunks_embedded_digest"), ["embedded_digest"], unique=False)
        batch_op.create_index(batch_op.f("ix_chunks_version_id"), ["version_id"], unique=False)

    op.create_table(
        "citations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("quote_digest", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("citations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_citations_version_id"), ["version_id"], unique=False)

    op.create_table(
        "elements",
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("boxes", sa.JSON(), nullable=False),
        sa.Column("section", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("version_id", "ordinal"),
    )
    op.create_table(
        "index_tasks",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("index_tasks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_index_tasks_version_id"), ["version_id"], unique=False)

    op.create_table(
        "periods",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=False),
        sa.Column("review_by", sa.BigInteger(), nullable=True),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "ordinal"),
    )
    with op.batch_alter_table("periods", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_periods_version_id"), ["version_id"], unique=False)
        batch_op.create_index(
            "uq_periods_open", ["version_id"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )

    op.create_table(
        "version_boundaries",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("boundary_id", ROW_ID, nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["boundary_id"],
            ["boundaries.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("version_boundaries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_version_boundaries_boundary_id"), ["boundary_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_version_boundaries_version_id"), ["version_id"], unique=False)
        batch_op.create_index(
            "uq_version_boundaries_open",
            ["version_id"],
            unique=True,
            sqlite_where=STILL_OPEN,
            postgresql_where=STILL_OPEN,
        )

    op.create_table(
        "withdrawals",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("version_id", ROW_ID, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_from", sa.BigInteger(), nullable=False),
        sa.Column("recorded_to", sa.BigInteger(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("withdrawals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_withdrawals_version_id"), ["version_id"], unique=False)
        batch_op.create_index(
            "uq_withdrawals_open", ["version_id"], unique=True, sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN
        )


def downgrade() -> None:
    with op.batch_alter_table("withdrawals", schema=None) as batch_op:
        batch_op.drop_index("uq_withdrawals_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_withdrawals_version_id"))

    op.drop_table("withdrawals")
    with op.batch_alter_table("version_boundaries", schema=None) as batch_op:
        batch_op.drop_index("uq_version_boundaries_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_version_boundaries_version_id"))
        batch_op.drop_index(batch_op.f("ix_version_boundaries_boundary_id"))

    op.drop_table("version_boundaries")
    with op.batch_alter_table("periods", schema=None) as batch_op:
        batch_op.drop_index("uq_periods_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_periods_version_id"))

    op.drop_table("periods")
    with op.batch_alter_table("index_tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_index_tasks_version_id"))

    op.drop_table("index_tasks")
    op.drop_table("elements")
    with op.batch_alter_table("citations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_citations_version_id"))

    op.drop_table("citations")
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_chunks_version_id"))
        batch_op.drop_index(batch_op.f("ix_chunks_embedded_digest"))

    op.drop_table("chunks")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_versions_document_id"))

    op.drop_table("versions")
    with op.batch_alter_table("policy_activations", schema=None) as batch_op:
        batch_op.drop_index("uq_policy_activations_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)

    op.drop_table("policy_activations")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index("ix_jobs_open")
        batch_op.drop_index(batch_op.f("ix_jobs_document_id"))
        batch_op.drop_index(batch_op.f("ix_jobs_batch"))

    op.drop_table("jobs")
    with op.batch_alter_table("traces", schema=None) as batch_op:
        batch_op.drop_index("ix_traces_subject")

    op.drop_table("traces")
    op.drop_table("texts")
    with op.batch_alter_table("purposes", schema=None) as batch_op:
        batch_op.drop_index("uq_purposes_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)

    op.drop_table("purposes")
    with op.batch_alter_table("principals", schema=None) as batch_op:
        batch_op.drop_index("uq_principals_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index("ix_principals_ref")

    op.drop_table("principals")
    op.drop_table("policy_texts")
    with op.batch_alter_table("memberships", schema=None) as batch_op:
        batch_op.drop_index("uq_memberships_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_memberships_parent"))
        batch_op.drop_index("ix_memberships_member")

    op.drop_table("memberships")
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.drop_index("uq_keys_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)
        batch_op.drop_index(batch_op.f("ix_keys_principal"))

    op.drop_table("keys")
    op.drop_table("epochs")
    op.drop_table("embeddings")
    op.drop_table("documents")
    with op.batch_alter_table("collections", schema=None) as batch_op:
        batch_op.drop_index("uq_collections_open", sqlite_where=STILL_OPEN, postgresql_where=STILL_OPEN)

    op.drop_table("collections")
    with op.batch_alter_table("boundaries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_boundaries_collection"))

    op.drop_table("boundaries")
