"""What a process of its own does in test_database.py. Apart, so that such a process imports little."""

from multiprocessing.synchronize import Barrier

from app.domain.instants import Instant
from app.operations.prepare import prepare
from app.store.database import open_engine

_meeting: Barrier


def meet_at(barrier: Barrier) -> None:
    """Called first in each process: where all of them will wait for each other."""
    global _meeting
    _meeting = barrier


def prepare_together(url: str) -> None:
    """Prepare a database at the same moment as the others."""
    opened = open_engine(url)
    _meeting.wait(60)
    prepare(opened, default_policies="permit nothing", now=Instant(1_000))
    opened.dispose()
