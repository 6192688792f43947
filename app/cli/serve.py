"""`muniment serve`: API, worker and index of one data folder in the foreground, until it is told to stop."""

import signal
import socket

from app.cli.console import Failed, say
from app.cli.local import NOT_READY, watched
from app.settings import Settings
from app.supervisor import supervised
from app.watch import Held


def serve(settings: Settings, host: str, port: int) -> None:
    """Returns when it was stopped by a signal. Raises `Failed` if it cannot start."""
    _be_free(host, port)
    try:
        stopped_by = (signal.SIGINT, signal.SIGTERM)
        with supervised(settings, host, port, stopped_by=stopped_by) as (supervisor, generated):
            if generated is not None:
                _show_key(generated)
            with watched(supervisor) as watcher:
                if supervisor.wait_until_ready():
                    say(f"Muniment is ready at {supervisor.url}, with its data in {settings.home.absolute()}.")
                    say("Ctrl-C stops it.")
                    watcher.join()
                elif not supervisor.stopping:
                    raise Failed(NOT_READY)
    except Held:
        raise Failed(
            f"A server is already running on this data folder ({settings.home}). "
            "Stop it, or set MUNIMENT_HOME to another folder."
        ) from None


def initialise(settings: Settings) -> None:
    """What `serve` does before it starts anything, by itself: for machines on which the parts are started apart."""
    from app.bootstrap import initialise

    generated = initialise(settings)
    if generated is not None:
        _show_key(generated)
    say("Database and data folder are ready.")


def _show_key(key: str) -> None:
    say(f"The administrator's key, shown this once: {key}")
    say("It manages principals, collections and policies, and reads nothing. With it, muniment apply FILE.yaml")
    say("lays down an institution: set MUNIMENT_URL to the address below, and MUNIMENT_ADMIN_KEY to the key.")
    say()


def _be_free(host: str, port: int) -> None:
    """Raises `Failed` if nothing can listen there: better now than from a child that is started again and again."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise Failed(f"{host} is not a name or address of this machine.") from None
    except OSError as error:
        raise Failed(
            f"Nothing can be served at {host}:{port}: {(error.strerror or 'it is refused').lower()}. "
            "Choose another --port or --host."
        ) from None
