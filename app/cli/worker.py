"""`muniment worker`: this process becomes an ingest worker."""

import os
import sys
from typing import NoReturn

from app.cli.console import Failed
from app.settings import Settings


def worker(settings: Settings, name: str) -> NoReturn:
    """Raises `Failed` where there is nothing that it could work on."""
    if settings.index.url is None and not any((settings.home / "run").glob("index*.address")):
        raise Failed(f"Nothing was started in this data folder ({settings.home}) yet. Start muniment serve first.")
    os.execv(sys.executable, [sys.executable, "-m", "ingest.worker", "--name", name])  # noqa: S606 (this program)
