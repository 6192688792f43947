"""What an issuer's access token says once it is verified, and the names of principals in it."""

import re
from dataclasses import dataclass

from app.domain.access import BOOTSTRAP_ADMINISTRATOR, Kind, PrincipalRef
from app.domain.errors import Unauthenticated

MAX_ACTORS = 5
"""Of one chain. Each actor is decided for, and a longer chain is nobody's honest work."""

_ID = re.compile(r"(?:(user|assistant):)?([A-Za-z0-9][A-Za-z0-9._@+-]{0,127})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who a verified token is about, in the issuer's names. What else it says, groups too, widens nothing here."""

    subject: str
    kind: Kind | None
    """What a name without a kind in front is of: an assistant's if a client got the token for itself (RFC 9068, 2.2).
    None: no kind may be in front, because people may choose the claim that it was taken from."""
    actors: tuple[str, ...] = ()
    """Who acts for the subject, whoever sends the request first (RFC 8693, 4.1)."""
    second_factor: bool = False
    namespace: str | None = None
    """The registry of identities that says whom these names mean; None: they are ids of the directory."""


def subject_named(claims: Claims) -> PrincipalRef:
    """The user or assistant of the directory that the token's subject is spelt as."""
    return _named(claims.subject, claims.kind or Kind.USER, prefixed=claims.kind is not None)


def actor_named(name: str) -> PrincipalRef:
    return checked_actor(_named(name, Kind.ASSISTANT, prefixed=True))


def checked_subject(ref: PrincipalRef) -> PrincipalRef:
    """INVARIANT: nobody is the bootstrap administrator by a token, whatever an issuer's users are called."""
    if ref == BOOTSTRAP_ADMINISTRATOR or ref.startswith("group:"):
        raise Unauthenticated("The token's subject is neither a person nor an assistant here. Ask an administrator.")
    return ref


def checked_actor(ref: PrincipalRef) -> PrincipalRef:
    if not ref.startswith("assistant:"):
        raise Unauthenticated("The token names an actor that is no assistant: only assistants act for somebody.")
    return ref


def _named(name: str, kind: Kind, *, prefixed: bool) -> PrincipalRef:
    found = _ID.fullmatch(name)
    if found is None or (found[1] and not prefixed):
        raise Unauthenticated(
            "The token names somebody in a way that is no id of this directory. An administrator can say whom it "
            "means: MUNIMENT_OIDC__IDENTITIES and PUT /v1/identities/NAMESPACE."
        )
    return PrincipalRef(f"{found[1] or kind}:{found[2]}")
