"""API keys: whose they are, what they are good for and until when; and when each was last used."""

from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from app.domain.access import PrincipalRef, Scope
from app.domain.instants import FOREVER, Instant


class KeyState(StrEnum):
    ACTIVE = "active"
    RETIRING = "retiring"
    """It was rotated: its successor has taken its place, and it ends soon."""
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is recorded of an API key. Its text is not."""

    id: str
    principal: PrincipalRef
    scope: Scope
    created: Instant
    created_by: PrincipalRef
    expires: Instant | None
    retires: Instant | None = None
    """When its overlap with the successor that it was rotated to ends."""
    revoked: Instant | None = None
    last_used: Instant | None = None
    """To the minute or so; None if never."""
    note: str = ""

    @property
    def ends(self) -> Instant:
        """When it is let in no longer."""
        return min(each for each in (self.expires, self.retires, self.revoked, FOREVER) if each is not None)

    def state(self, now: Instant) -> KeyState:
        if self.revoked is not None:
            return KeyState.REVOKED
        if self.ends <= now:
            return KeyState.EXPIRED
        return KeyState.ACTIVE if self.retires is None else KeyState.RETIRING


class KeyUses:
    """When keys were last used, until somebody writes it down. Safe between threads; noting cannot fail, nor wait."""

    def __init__(self) -> None:
        self._used: dict[str, Instant] = {}
        self._lock = Lock()

    def note(self, id: str, at: Instant) -> None:
        with self._lock:
            self._used[id] = at

    def taken(self) -> dict[str, Instant]:
        """Those that were noted since this was last asked."""
        with self._lock:
            taken, self._used = self._used, {}
        return taken
