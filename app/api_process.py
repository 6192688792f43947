"""The API's process: ports opened, the app served, both closed.

python -m app.api_process --host H --port P [--liveness-fd N]
"""

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack

import uvicorn

from app.bootstrap import open_ports
from app.domain.errors import MunimentError
from app.server import create_app
from app.settings import Settings
from app.watch import on_end_of_parent

_GRACE_S = 5

_INDEX_PATIENCE_S = 5.0
"""Somebody waits for the answer: long enough for the index process to be restarted, and for it to tidy itself.

What is not told to the index in this time is told by the worker.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="app.api_process", description="Muniment's API process.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8321)
    options.add_argument("--liveness-fd", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="API: %(levelname)s %(message)s")
    on_end_of_parent(chosen.liveness_fd, _stop)
    with ExitStack() as opened:
        opening = open_ports(Settings(), index_patience_s=_INDEX_PATIENCE_S, index_timeout_s=_INDEX_PATIENCE_S)
        try:
            ports = opened.enter_context(opening)
        except MunimentError as error:
            logging.error("%s", error.detail)  # whoever chose the settings reads it
            return 1
        app = create_app(ports)
        gc.collect()
        gc.freeze()  # what is loaded now stays: scanning it held up requests
        server = uvicorn.Config(
            app,
            host=chosen.host,
            port=chosen.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        uvicorn.Server(server).run()
    return 0


def _stop() -> None:
    """Answer what is under way, but not for long: nobody is left to wait for this process."""
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Timer(_GRACE_S + 3, lambda: os._exit(1)).start()


if __name__ == "__main__":
    sys.exit(main())
