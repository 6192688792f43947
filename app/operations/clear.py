"""Forgetting what was staged and will never be published: its job failed, was cancelled, or found nothing new."""

from app.domain.jobs import JobId
from app.operations.generations import told
from app.ports import Ports
from app.store import publishing
from app.store.database import reading, writing

_AT_ONCE = 500


def clear_away(ports: Ports, job: JobId | None = None) -> int:
    """Take away what a job left, or what any did: from the index first, then from SQL. Says how many versions it was.

    A job that is over stages nothing more, so what is found here stays as it is until it is gone. A step that was
    putting it into the index meanwhile looks again when it has, and takes it out itself.
    """
    cleared = 0
    while True:
        with reading(ports.engine) as session:
            left = publishing.left_behind(session, job, limit=_AT_ONCE)
            points = [each.point for each in publishing.placements_of(session, left)]
        if not left:
            return cleared
        if points:
            for each in told(ports):
                each.index.remove(points)
        with writing(ports.engine) as session:
            publishing.forget(session, left)
        cleared += len(left)
