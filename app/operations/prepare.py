"""First start, and every start: the schema, the built-in principals, the default policies, the bootstrap key."""

from sqlalchemy.engine import Engine

from app.domain.access import ADMINISTRATORS, BOOTSTRAP_ADMINISTRATOR, BUILT_IN_GROUPS, PrincipalRef, Profile
from app.domain.instants import Instant
from app.domain.labels import Level
from app.operations.identify import key_digest
from app.store import directory, registry
from app.store.database import migrate, recording, writing

SYSTEM = PrincipalRef("system")
"""Recorded as the author of what the program lays down itself."""


def prepare(engine: Engine, *, default_policies: str, now: Instant) -> None:
    """Bring a data folder or database to where requests can be served. May be repeated, and run by several at once."""
    migrate(engine)
    with writing(engine) as session:
        directory.begin_epochs(session)
    with recording(engine, now, "policies", "directory") as (session, at):
        for group in BUILT_IN_GROUPS:
            if directory.profile(session, group) is None:
                built_in = Profile(ref=group, display_name=group.partition(":")[2].replace("-", " "))
                directory.record_principal(session, built_in, at=at, by=SYSTEM)
        if directory.profile(session, BOOTSTRAP_ADMINISTRATOR) is None:
            administrator = Profile(
                ref=BOOTSTRAP_ADMINISTRATOR,
                display_name="Bootstrap administrator",
                groups=frozenset({ADMINISTRATORS}),
                clearance=Level.PUBLIC,
            )
            directory.record_principal(session, administrator, at=at, by=SYSTEM)
        if registry.active_policies(session) is None:
            registry.record_policies(session, default_policies, reason="the default policies", at=at, by=SYSTEM)


def ensure_administrator_key(
    engine: Engine, *, configured: str | None, generated: str, pepper: bytes, now: Instant
) -> str | None:
    """Let the configured key be the administrator's only bootstrap key.

    Without one, and if the administrator has no key yet, `generated` becomes it and is returned, to be shown once.
    """
    key = configured or generated
    digest = key_digest(key, pepper=pepper)
    with recording(engine, now, "directory") as (session, at):
        held = directory.key_digests(session, BOOTSTRAP_ADMINISTRATOR)
        if digest in held or (configured is None and held):
            return None
        directory.revoke_keys(session, BOOTSTRAP_ADMINISTRATOR, at=at, by=SYSTEM)
        session.flush()
        id = f"key_{digest[:13]}{at:013d}"  # the instant, because a key that was replaced may be configured again
        directory.record_key(session, id=id, principal=BOOTSTRAP_ADMINISTRATOR, digest=digest, at=at, by=SYSTEM)
    return None if configured else key
