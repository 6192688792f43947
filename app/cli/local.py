"""A server of one's own on the data folder, for as long as a command runs, and the keys that the command needs for it.

Every answer still comes over HTTP, through the one gate, so keys are needed. They are laid into the directory as any
key is, named `key_console_...`, and revoked when the command ends; what a killed command left behind, when the next
one does. This widens nothing. Whoever can read the data folder can read the database and the originals, and could add
a key by hand. What a command gets is less than that, decided by the policies, and on record:

- `user:operator`, of internal clearance and no categories: sees what is open to all staff, and what it owns. Made at
  first use, and after that as administrators have it.
- For `--as user:ana`, `assistant:console`, which names her on its own word, so traces say *asserted*. It is given her
  clearance and categories each time, so its ceiling hides nothing that is hers and shows nothing that is not. An
  administrator ends this by taking `may_assert` from it, or by making it inactive.
- The bootstrap administrator, who reads nothing, to lay down principals and collections.
"""

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.bootstrap import new_id, now, secret
from app.cli.client import Server
from app.cli.console import Failed, note
from app.domain.access import BOOTSTRAP_ADMINISTRATOR, CONSOLE, PrincipalRef, Profile
from app.domain.errors import MunimentError
from app.operations.identify import key_digest
from app.operations.prepare import SYSTEM
from app.settings import Settings, SourcesSettings
from app.store import directory, registry, sources
from app.store.database import open_engine, reading, recording
from app.supervisor import READY_PATIENCE_S, Supervisor, supervised
from app.watch import Held

OPERATOR = PrincipalRef("user:operator")
NOT_READY = (
    f"Not every part came up within {READY_PATIENCE_S:.0f} seconds. What they said is above; see also muniment doctor."
)


class Desk:
    """The data folder's own server, and what its operator may do with it."""

    def __init__(self, url: str, engine: Engine, pepper: bytes, ledger: Path, opened: ExitStack) -> None:
        self._url, self._engine, self._pepper, self._ledger, self._opened = url, engine, pepper, ledger, opened

    def operator(self) -> Server:
        """The server, to the operator of this machine."""
        if self._profile(OPERATOR) is None:
            self._record(Profile(ref=OPERATOR, display_name="Local operator"))
        return self._server(OPERATOR)

    def acting_for(self, person: PrincipalRef) -> Server:
        """The server, to the console on that person's behalf. Raises `Failed` for somebody who is not recorded."""
        found = self._profile(person)
        if found is None:
            raise Failed(f"{person} is not in the directory of this data folder.")
        console = self._profile(CONSOLE) or Profile(
            ref=CONSOLE, display_name="Command line of this machine", may_assert=True
        )
        self._record(replace(console, clearance=found.clearance, categories=found.categories))
        return self._server(CONSOLE, on_behalf_of=person)

    def administrator(self) -> Server:
        """The server, to the bootstrap administrator."""
        return self._server(BOOTSTRAP_ADMINISTRATOR)

    def has_collection(self, name: str) -> bool:
        with reading(self._engine) as session:
            return registry.collection(session, name) is not None

    def _server(self, ref: PrincipalRef, *, on_behalf_of: str | None = None) -> Server:
        server = Server(self._url, self._key(ref), on_behalf_of=on_behalf_of, trust_environment=False)
        return self._opened.enter_context(server)

    def _key(self, ref: PrincipalRef) -> str:
        """A key until the command ends. It is in the ledger before it is in force."""
        key, id = f"mun_{new_id()}{new_id()}", f"key_console_{new_id()}"
        with self._ledger.open("a") as ledger:
            ledger.write(f"{ref} {id}\n")
            ledger.flush()
            os.fsync(ledger.fileno())
        digest = key_digest(key, pepper=self._pepper)
        with recording(self._engine, now(), "directory") as (session, at):
            directory.record_key(session, id=id, principal=ref, digest=digest, at=at, by=SYSTEM)
        return key

    def _profile(self, ref: PrincipalRef) -> Profile | None:
        with reading(self._engine) as session:
            return directory.profile(session, ref)

    def _record(self, profile: Profile) -> None:
        if self._profile(profile.ref) != profile:
            with recording(self._engine, now(), "directory") as (session, at):
                directory.record_principal(session, profile, at=at, by=SYSTEM)


@contextmanager
def opened(settings: Settings, *, worker: bool, tells_key: bool = True, fetching: Sequence[str] = ()) -> Iterator[Desk]:
    """The data folder with its processes started and ready, all ended on leaving. Raises `Failed`.

    If this is its first start, an administrator's key is made: `tells_key` says it, for it is never shown again.
    Sources may fetch from `fetching` too: whoever types the command has what is there, without a server.
    """
    allowed = (*settings.sources.locations, *fetching, *_places_of_operator(settings))
    settings = settings.model_copy(update={"sources": SourcesSettings(allow=allowed, scheduled=False)})
    ledger = settings.home / "run" / "console.keys"
    try:
        with ExitStack() as stack:
            supervisor, generated = stack.enter_context(supervised(settings, "127.0.0.1", _free_port(), worker=worker))
            if generated is not None and tells_key:
                note(f"This data folder is new. Its administrator's key, shown this once: {generated}")
            stack.enter_context(watched(supervisor))
            engine = open_engine(settings.database)
            stack.callback(engine.dispose)
            stack.callback(_revoke, engine, ledger)
            if not supervisor.wait_until_ready():
                raise Failed(NOT_READY)
            yield Desk(supervisor.url, engine, secret(settings.home, "pepper"), ledger, stack)
    except Held:
        raise Failed(
            f"A server holds this data folder ({settings.home}). "
            "Set MUNIMENT_URL to its address, and MUNIMENT_KEY to your key."
        ) from None
    except SQLAlchemyError as error:
        raise Failed("The database cannot be used. muniment doctor says more.") from error


@contextmanager
def watched(supervisor: Supervisor) -> Iterator[threading.Thread]:
    """Restart what crashes, in a thread, while inside."""
    watcher = threading.Thread(target=supervisor.watch, name="watcher", daemon=True)
    watcher.start()
    try:
        yield watcher
    finally:
        supervisor.stop()
        watcher.join()


def _places_of_operator(settings: Settings) -> list[str]:
    """Where the sources fetch from that were registered from this command line: they may be run from it, too."""
    try:
        engine = open_engine(settings.database)
        try:
            with reading(engine) as session:
                registered = sources.registered_everywhere(session)
        finally:
            engine.dispose()
    except (SQLAlchemyError, MunimentError):  # there is nothing yet, or nothing to be reached: that is told of later
        return []
    return [each.settings.location for each in registered if each.registrant.subject == OPERATOR]


def _revoke(engine: Engine, ledger: Path) -> None:
    """Revoke every key in the ledger. Nobody else has any there: the data folder is held."""
    if not ledger.exists():
        return
    with recording(engine, now(), "directory") as (session, at):
        for line in ledger.read_text().splitlines():
            ref, _, id = line.partition(" ")
            directory.revoke_keys(session, PrincipalRef(ref), at=at, by=SYSTEM, id=id)
    ledger.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
