"""Step 0 of everything: from what was sent along to the principal that a decision is about."""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from app.domain.access import (
    NOBODY,
    Epochs,
    Grant,
    Kind,
    Party,
    Principal,
    PrincipalRef,
    Proof,
    Scope,
    holds_for,
    kind_of,
)
from app.domain.errors import Invalid, NotPermitted, Unauthenticated
from app.domain.instants import Instant, iso
from app.domain.jurisdictions import Registers
from app.domain.sources import ForeignKind
from app.domain.tokens import MAX_ACTORS, Claims, actor_named, checked_actor, checked_subject, subject_named
from app.ports import Ports
from app.store import directory, grants, jurisdictions, sources

_PERSON = re.compile(r"user:[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a request said of who asks, unverified."""

    bearer: str | None
    subject_token: str | None = None
    on_behalf_of: str | None = None
    about: PrincipalRef | None = None
    """Never sent: whom an evaluation asks as. What is reached is then what both that one and the sender may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A verified principal, the epochs it was verified under, and the instant that counts as now.

    `now` is never before the last recorded instant, so whatever was acknowledged is known and in force.
    """

    principal: Principal
    epochs: Epochs
    now: Instant
    grants: tuple[Grant, ...] = ()
    """Those of the subject that are in force now for this principal."""
    registers: Registers = field(default=Registers(), compare=False, repr=False)
    """Jurisdictions and transfer rules under these epochs."""
    witness: "Standing | None" = None
    """Who asks as this principal to evaluate. INVARIANT: nothing is reached that the witness may not read itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """What a credential proves: whose it is, and who acts for that one by it."""

    holder: PrincipalRef
    actors: tuple[PrincipalRef, ...] = ()
    second_factor: bool = False
    scopes: frozenset[Scope] = frozenset()


def identify(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    """Whose request it is. Raises `Unauthenticated`, or `NotPermitted` when a delegation is not allowed.

    1. The bearer must be somebody's key today that has not expired, or a token of the issuer for us.
    2. What a key is limited to is a limit of the principal; so are both, if two are sent.
    3. A subject is named once: by the bearer's own chain, or by at most one header and only by an assistant.
    4. A subject token must be a person's key today, or a token about a person: then the subject is proven.
    5. A subject on the assistant's word needs `may_assert`, of each assistant of the chain: then it is asserted.
    6. Whom an evaluation asks as is asserted, and whoever runs it stands beside it as a witness.
    """
    standing = _identified(ports, session, credentials)
    if credentials.about is None:
        return standing
    return replace(standing_about(ports, session, standing, credentials.about), witness=standing)


def _identified(ports: Ports, session: Session, credentials: Credentials) -> Standing:
    _is_sent(credentials.bearer, "Authorization")
    claims = _claims(ports, credentials.bearer), _claims(ports, credentials.subject_token, "Muniment-Subject-Token")
    epochs, recorded, bearer = _proven(ports, session, credentials.bearer, claims[0])
    now = Instant(max(ports.now(), recorded))

    def party(ref: PrincipalRef) -> Party:
        return _party(ports, session, ref, epochs)

    if credentials.subject_token is None and credentials.on_behalf_of is None:
        return _standing(ports, session, _principal(party, bearer), epochs, now)

    if credentials.subject_token is not None and credentials.on_behalf_of is not None:
        raise Invalid("Name the person once: by Muniment-Subject-Token or by Muniment-On-Behalf-Of, not by both.")
    if kind_of(bearer.holder) is not Kind.ASSISTANT:
        raise NotPermitted("Only an assistant acts for somebody else. Send your own key without naming a person.")
    senders = (*bearer.actors, bearer.holder)

    if credentials.subject_token is not None:
        _is_sent(credentials.subject_token, "Muniment-Subject-Token")
        _, _, person = _proven(ports, session, credentials.subject_token, claims[1], header="Muniment-Subject-Token")
        if kind_of(person.holder) is not Kind.USER:
            raise Unauthenticated("Muniment-Subject-Token must be the key or the token of a person.")
        chain = replace(person, actors=_chain(*senders, *person.actors), scopes=bearer.scopes | person.scopes)
        principal = _principal(party, chain)
    else:
        named = _asserted([party(ref) for ref in senders], credentials.on_behalf_of or "")
        sent = _Sent(holder=named, actors=_chain(*senders), scopes=bearer.scopes)
        principal = replace(_principal(party, sent), proof=Proof.ASSERTED)
    return _standing(ports, session, principal, epochs, now)


def _principal(party: Callable[[PrincipalRef], Party], sent: _Sent) -> Principal:
    return Principal(
        subject=party(sent.holder),
        actors=tuple(map(party, sent.actors)),
        second_factor=sent.second_factor,
        scopes=sent.scopes,
    )


def _chain(*actors: PrincipalRef) -> tuple[PrincipalRef, ...]:
    if len(actors) > MAX_ACTORS:
        raise Unauthenticated(f"Together these credentials name more than {MAX_ACTORS} actors of one chain.")
    return actors


def standing_of(
    ports: Ports, session: Session, subject: PrincipalRef, *, actors: Sequence[PrincipalRef], proof: Proof
) -> Standing:
    """The standing today of somebody in whose name something is done that they once asked for. Whether it still may
    be done is for the policy to say, as of any principal; an assistant that may no longer assert is inactive in it."""
    epochs, recorded = directory.epochs_and_instant(session)
    acting = [_party(ports, session, actor, epochs) for actor in actors]
    if proof is Proof.ASSERTED:
        acting = [
            each if each.profile.may_assert else replace(each, profile=replace(each.profile, active=False))
            for each in acting
        ]
    principal = Principal(subject=_party(ports, session, subject, epochs), actors=tuple(acting), proof=proof)
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
    in_force = tuple(each for each in given if holds_for(each, principal, now))
    registers = registers_of(ports, session, epochs)
    principal = replace(
        principal,
        subject=_placed(ports, registers, principal.subject, epochs, now),
        actors=tuple(_placed(ports, registers, actor, epochs, now) for actor in principal.actors),
    )
    return Standing(principal=principal, epochs=epochs, now=now, grants=in_force, registers=registers)


def registers_of(ports: Ports, session: Session, epochs: Epochs) -> Registers:
    """Jurisdictions and transfer rules as they are recorded under these epochs."""
    return ports.memo.recall(
        ("registers", epochs.directory),
        lambda: jurisdictions.registers(session),
        weigh=lambda found: 100 + 10 * (len(found.jurisdictions) + len(found.transfers)),
    )


def _placed(ports: Ports, registers: Registers, party: Party, epochs: Epochs, now: Instant) -> Party:
    """The party with where it is. INVARIANT: what ends by time is told by the era, so that none of it outlives it."""
    key = ("placed", party, epochs.directory, registers.era(now))
    return ports.memo.recall(key, lambda: registers.placed(party, now))


def key_digest(key: str, *, pepper: bytes) -> str:
    """HMAC-SHA256 of an API key: keys are 256 random bits, so no slow hash is needed."""
    return hmac.new(pepper, b"api-key:" + key.encode(), hashlib.sha256).hexdigest()


def _is_sent(credential: str | None, header: str) -> None:
    if not credential:
        raise Unauthenticated(
            f"Send an API key or an access token in {header}"
            + (": Bearer mun_..." if header == "Authorization" else ".")
        )


def _claims(ports: Ports, credential: str | None, header: str = "") -> Claims | None:
    """What it says, if it is a token. INVARIANT: before any query, so that no transaction waits for the issuer."""
    if credential is None or not credential.startswith("eyJ"):
        return None
    if ports.tokens is None:
        raise Unauthenticated("This server has no token issuer configured. Send an API key instead of a JWT.")
    try:
        return ports.tokens.verify(credential, now=ports.now())
    except Unauthenticated as refused:
        raise Unauthenticated(f"{header}: {refused.detail}" if header else refused.detail) from refused


def _proven(
    ports: Ports, session: Session, credential: str | None, claims: Claims | None, *, header: str = "Authorization"
) -> tuple[Epochs, Instant, _Sent]:
    """Whose credential that is, with the epochs and the last recorded instant: one query either way."""
    if claims is not None:
        epochs, recorded = directory.epochs_and_instant(session)
        sent = _Sent(
            holder=checked_subject(_meant(ports, session, claims, epochs)),
            actors=tuple(_meant_actor(ports, session, name, claims, epochs) for name in claims.actors),
            second_factor=claims.second_factor,
        )
        return epochs, recorded, sent
    key, epochs, recorded = directory.key_by_digest(session, key_digest(credential or "", pepper=ports.pepper))
    if key is None:
        raise Unauthenticated(
            f"The key in {header} is not known here, or was revoked. Ask an administrator for a new one."
        )
    now = Instant(max(ports.now(), recorded))
    if key.ends <= now:  # said to whoever holds it, and to nobody else: nobody else has the key to ask with
        how = "was rotated, and the time beside its successor ended" if key.expires != key.ends else "expired"
        raise Unauthenticated(f"The key in {header} {how} at {iso(key.ends)}. Ask an administrator for a new one.")
    ports.key_uses.note(key.id, now)
    return epochs, recorded, _Sent(holder=key.principal, scopes=frozenset({key.scope} if key.scope else ()))


def _meant(ports: Ports, session: Session, claims: Claims, epochs: Epochs) -> PrincipalRef:
    if claims.namespace is None:
        return subject_named(claims)
    return _registered(ports, session, claims.namespace, claims.subject, epochs)


def _meant_actor(ports: Ports, session: Session, name: str, claims: Claims, epochs: Epochs) -> PrincipalRef:
    if claims.namespace is None:
        return actor_named(name)
    return checked_actor(_registered(ports, session, claims.namespace, name, epochs))


def _registered(ports: Ports, session: Session, namespace: str, name: str, epochs: Epochs) -> PrincipalRef:
    """Whom a name of the issuer means here. A name that nobody explained is nobody."""
    found = ports.memo.recall(
        ("identity", namespace, name, epochs.directory),
        lambda: sources.foreign_principal(session, namespace, (ForeignKind.USER, name)) or NOBODY,
    )
    if found == NOBODY:
        raise Unauthenticated(
            "The token names somebody whom nobody is known by here. An administrator can say whom it means: "
            f"PUT /v1/identities/{namespace}."
        )
    return found


def _asserted(senders: Sequence[Party], named: str) -> PrincipalRef:
    if not all(sender.profile.may_assert for sender in senders):
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
