"""The name of a golden question is its author's own."""

import sqlalchemy as sa
from alembic import op

revision = "20261123_golden_names"
down_revision = "20261122_generations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _made_anew("collection", "name", "stated_by")


def downgrade() -> None:
    op.execute(  # the release before has one of a name: the one last stated stays
        "DELETE FROM golden_questions WHERE EXISTS (SELECT 1 FROM golden_questions AS later"
        " WHERE later.collection = golden_questions.collection AND later.name = golden_questions.name"
        " AND (later.stated_at, later.stated_by) > (golden_questions.stated_at, golden_questions.stated_by))"
    )
    _made_anew("collection", "name")


def _made_anew(*key: str) -> None:
    """With this key, which SQLite changes no table's to in place."""
    op.create_table(
        "golden_questions_anew",
        sa.Column("collection", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("who", sa.String(), nullable=True),
        sa.Column("purpose", sa.String(), nullable=True),
        sa.Column("as_of", sa.BigInteger(), nullable=True),
        sa.Column("expects", sa.JSON(), nullable=False),
        sa.Column("slice", sa.String(), nullable=False),
        sa.Column("unanswerable", sa.Boolean(), nullable=False),
        sa.Column("stated_at", sa.BigInteger(), nullable=False),
        sa.Column("stated_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(*key),
    )
    op.execute("INSERT INTO golden_questions_anew SELECT * FROM golden_questions")  # the columns are in one order
    op.drop_table("golden_questions")
    op.rename_table("golden_questions_anew", "golden_questions")
