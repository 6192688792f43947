"""Generations of the index, the first of which is what there was; and tasks that are each for one of them."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "20261122_generations"
down_revision = "20261122_evaluation"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ANALYZER_UNTIL_NOW = "snowball-english-1"


def upgrade() -> None:
    generations = op.create_table(
        "generations",
        sa.Column("id", _ROW_ID, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("embedding", sa.Text(), nullable=False),
        sa.Column("fingerprint", sqlmodel.AutoString(), nullable=True),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("analyzer", sqlmodel.AutoString(), nullable=False),
        sa.Column("state", sqlmodel.AutoString(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("active_from", sa.BigInteger(), nullable=True),
        sa.Column("active_to", sa.BigInteger(), nullable=True),
        sa.Column("cut_off", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("builder", sqlmodel.AutoString(), nullable=True),
        sa.Column("builder_until", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.create_index("ix_generations_state", "generations", ["state"])
    first = {"embedding": "", "dimension": 0, "analyzer": _ANALYZER_UNTIL_NOW, "state": "active"}
    op.bulk_insert(generations, [{**first, "made_at": 0, "active_from": 0}])
    op.add_column("epochs", sa.Column("generation", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("index_tasks", sa.Column("generation_id", sa.BigInteger(), nullable=False, server_default="1"))
    op.create_index("ix_index_tasks_generation", "index_tasks", ["generation_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_index_tasks_generation", "index_tasks")
    op.drop_column("index_tasks", "generation_id")
    op.drop_column("epochs", "generation")
    op.drop_index("ix_generations_state", "generations")
    op.drop_table("generations")
