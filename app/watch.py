"""Children that do not outlive their parent, and folders that one process at a time may hold."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Another process holds it."""


def on_end_of_parent(liveness_fd: int | None, act: Callable[[], object]) -> None:
    """Call `act` when the descriptor reads end-of-file: the read end of a pipe that only the parent could write to.

    However the parent ends, the kernel closes its end, so no signal needs to be caught and none can be missed.
    """
    if liveness_fd is None:
        return

    def wait() -> None:
        while os.read(liveness_fd, 1):
            pass
        act()

    threading.Thread(target=wait, name="liveness", daemon=True).start()


@contextmanager
def held(path: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file while inside; the kernel lets go of it however this process ends. Raises `Held`.

    `patience_s` is for a process that is just ending: the one that is started in its place waits for its last step.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    deadline = time.monotonic() + patience_s
    with path.open("a+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise Held(str(path)) from error
                time.sleep(0.05)
        yield
