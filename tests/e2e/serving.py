"""A supervisor as `muniment serve` runs one, without its words: python -m tests.e2e.serving PORT LIVENESS_FD

Settings are read from MUNIMENT_*. It ends with the test that started it, too. Exit codes: 0 stopped by a signal, 3
another one holds the data folder.
"""

import signal
import sys
import threading

from app.settings import Settings
from app.supervisor import supervised
from app.watch import Held, on_end_of_parent


def main() -> int:
    try:
        stopped_by = (signal.SIGINT, signal.SIGTERM)
        with supervised(Settings(), "127.0.0.1", int(sys.argv[1]), stopped_by=stopped_by) as (supervisor, _):
            on_end_of_parent(int(sys.argv[2]), supervisor.stop)
            watcher = threading.Thread(target=supervisor.watch)
            watcher.start()
            watcher.join()
    except Held:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
