"""Alembic's entry: migrates the connection that `database.migrate` hands over."""

from alembic import context
from sqlmodel import SQLModel

import app.store.tables  # noqa: F401  (fills SQLModel.metadata)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
