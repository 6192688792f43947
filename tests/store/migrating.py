"""Migrations, for tests that go back to a release before."""

from pathlib import Path

from alembic.config import Config
from sqlalchemy.engine import Connection

import app.store.tables


def migrations(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(app.store.tables.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
