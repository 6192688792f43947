"""Step 0 of everything: from what was sent along to the principal that a decision is about."""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import Epochs, Grant, Kind, Party, Principal, PrincipalRef, Proof, kind_of
from app.domain.errors import Invalid, NotPermitted, Unauthenticated
from app.domain.instants import Instant
from app.ports import Ports
from app.store import directory, grants

_PERSON = re.compile(r"user:[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a request said of who asks, unverified."""

    bearer: str | None
    subject_token: str | None = None
    on_behalf_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A verified principal, the epochs it was verified under, and the instant that counts as now.

    `now` is never before the last recorded instant, so whatever was acknowledged is known and in force.
    """

    principal: Principal
    epochs: Epochs
    now: Instant
    grants: tuple[Grant, ...] = ()
    """Those of the subject that are in force now."""


def identify(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    """Whose request it is. Raises `Unauthenticated`, or `NotPermitted` when a delegation is not allowed.

    1. The bearer must be somebody's key today.
    2. A subject is named by at most one header, and only by an assistant.
    3. A subject token must be a person's key today: then the subject is proven.
    4. A subject on the assistant's word needs `may_assert`: then it is asserted.
    """
    holder, epochs, recorded = _holder(ports, session, credentials.bearer)
    now = Instant(max(ports.now(), recorded))
    sender = _party(ports, session, holder, epochs)

    if credentials.subject_token is None and credentials.on_behalf_of is None:
        return _standing(ports, session, Principal(subject=sender), epochs, now)

    if credentials.subject_token is not None and credentials.on_behalf_of is not None:
        raise Invalid("Name the person once: by Muniment-Subject-Token or by Muniment-On-Behalf-Of, not by both.")
    if sender.kind is not Kind.ASSISTANT:
        raise NotPermitted("Only an assistant acts for somebody else. Send your own key without naming a person.")

    if credentials.subject_token is not None:
        person, _, _ = _holder(ports, session, credentials.subject_token, header="Muniment-Subject-Token")
        if kind_of(person) is not Kind.USER:
            raise Unauthenticated("Muniment-Subject-Token must be the key of a person.")
        proof = Proof.PROVEN
    else:
        person = _asserted(sender, credentials.on_behalf_of or "")
        proof = Proof.ASSERTED
    subject = _party(ports, session, person, epochs)
    principal = Principal(subject=subject, actors=(sender,), proof=proof)
    return _standing(ports, session, principal, epochs, now)


def standing_of(
    ports: Ports, session: Session, subject: PrincipalRef, *, actor: PrincipalRef | None, proof: Proof
) -> Standing:
    """The standing today of somebody in whose name something is done that they once asked for. Whether it still may
    be done is for the policy to say, as of any principal; an assistant that may no longer assert is inactive in it."""
    epochs, recorded = directory.epochs_and_instant(session)
    acting = _party(ports, session, actor, epochs) if actor is not None else None
    if acting is not None and proof is Proof.ASSERTED and not acting.profile.may_assert:
        acting = replace(acting, profile=replace(acting.profile, active=False))
    actors = (acting,) if acting is not None else ()
    principal = Principal(subject=_party(ports, session, subject, epochs), actors=actors, proof=proof)
    return _standing(ports, session, principal, epochs, Instant(max(ports.now(), recorded)))


def standing_about(
    ports: Ports, session: Session, asking: Standing, subject: PrincipalRef, *, actors: tuple[PrincipalRef, ...] = ()
) -> Standing:
    """Where somebody else stands, on the word of whoever asks about them: asserted, and with one factor."""
    principal = Principal(
        subject=_party(ports, session, subject, asking.epochs),
        actors=tuple(_party(ports, session, actor, asking.epochs) for actor in actors),
        proof=Proof.ASSERTED,
    )
    return _standing(ports, session, principal, asking.epochs, asking.now)


def _standing(ports: Ports, session: Session, principal: Principal, epochs: Epochs, now: Instant) -> Standing:
    subject = principal.subject.ref
    given = ports.memo.recall(("grants", subject, epochs.grants), lambda: grants.grants_of(session, subject))
    in_force = tuple(each for each in given if each.begins <= now < each.ends)
    return Standing(principal=principal, epochs=epochs, now=now, grants=in_force)


def key_digest(key: str, *, pepper: bytes) -> str:
    """HMAC-SHA256 of an API key: keys are 256 random bits, so no slow hash is needed."""
    return hmac.new(pepper, b"api-key:" + key.encode(), hashlib.sha256).hexdigest()


def _holder(
    ports: Ports, session: Session, token: str | None, *, header: str = "Authorization"
) -> tuple[PrincipalRef, Epochs, Instant]:
    if not token:
        raise Unauthenticated(
            f"Send an API key in {header}" + (": Bearer mun_..." if header == "Authorization" else ".")
        )
    if token.startswith("eyJ"):
        raise Unauthenticated("This server has no token issuer configured. Send an API key instead of a JWT.")
    holder, epochs, recorded = directory.holder_of_key(session, key_digest(token, pepper=ports.pepper))
    if holder is None:
        raise Unauthenticated(
            f"The key in {header} is not known here, or was revoked. Ask an administrator for a new one."
        )
    return holder, epochs, recorded


def _asserted(sender: Party, named: str) -> PrincipalRef:
    if not sender.profile.may_assert:
        raise NotPermitted(
            "This assistant may not name a person on its own word. Send the person's own key or token as "
            "Muniment-Subject-Token, or ask an administrator to set may_assert."
        )
    person = named.strip()
    if not _PERSON.fullmatch(person):  # never said back: it may be a key that was put into the wrong header
        raise Invalid("Muniment-On-Behalf-Of names a person: user:ID.")
    return PrincipalRef(person)


def _party(ports: Ports, session: Session, ref: PrincipalRef, epochs: Epochs) -> Party:
    return ports.memo.recall(("party", ref, epochs.directory), lambda: directory.party(session, ref))
