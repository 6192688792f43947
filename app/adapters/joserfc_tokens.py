"""Access tokens as JWTs of one issuer (RFC 9068), their signatures verified by joserfc.

The header is read here and not left to the library: what it says decides nothing but which of the issuer's keys is
tried. joserfc reads the keys and does the mathematics.
"""

import base64
import binascii
import json
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from app.adapters.httpx_issuer import Issuer
from app.domain.access import Kind
from app.domain.errors import Invalid, Unauthenticated, Unavailable
from app.domain.instants import Instant
from app.domain.tokens import MAX_ACTORS, Claims

Key = RSAKey | ECKey | OKPKey
Json = Mapping[str, Any]

ASYMMETRIC = frozenset(
    {"Ed25519", "EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
)
"""INVARIANT: nothing else verifies a token here, whatever is configured: not `none`, and no HMAC, for which a
published key would do as the secret (RFC 8725, 2.1)."""

_MAX_TOKEN_CHARS = 16_000
_MAX_KEYS = 100
_LEAST_RSA_BITS = 2048
_AGAIN_AFTER_S = 15
"""Between fetches that brought nothing: made-up key ids must not make us hammer the issuer."""
_MAX_WAITING = 4
"""Requests that wait for keys at once; the others are told to come again, so that threads are left for the rest."""
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_MOST_SECONDS = 1e12
_TYPES = ("at+jwt", "application/at+jwt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say, and how what it says is read."""

    audience: str
    algorithms: frozenset[str] = ASYMMETRIC
    leeway_s: float = 30
    subject_claim: str = "sub"
    namespace: str | None = None
    second_factor_acr: frozenset[str] = frozenset()
    second_factor_amr: frozenset[str] = frozenset({"mfa"})

    def __post_init__(self) -> None:
        if refused := sorted(self.algorithms - ASYMMETRIC):
            raise Invalid(
                f"MUNIMENT_OIDC__ALGORITHMS names {', '.join(refused)}: only {', '.join(sorted(ASYMMETRIC))} are safe "
                "with published keys."
            )


class JoserfcTokens:
    """The `TokenVerifier` port. Safe to share between threads."""

    def __init__(
        self, issuer: Issuer, expected: Expected, *, refresh_s: float = 300, max_stale_s: float = 3600
    ) -> None:
        self._issuer, self._expected = issuer.url, expected
        self._keys = _KeyRing(issuer, refresh_s=refresh_s, max_stale_s=max_stale_s)

    def verify(self, token: str, *, now: Instant) -> Claims:
        """What must hold:

        1. It is a signed JWT of a bounded size, whose header asks for nothing that is not understood.
        2. It is an access token, signed with an allowed algorithm by a key that it names.
        3. It is of our issuer. (Read before it is proven: a stranger's token makes us fetch no keys.)
        4. That key is the issuer's today, is for this algorithm, and made the signature over exactly these bytes.
        5. It is for us, and in its time.
        6. It says who it is about, and every actor of its chain.
        """
        # 1. form
        header_text, payload_text, signature_text = _parts(token)
        header, claims = _object(header_text), _object(payload_text)
        signature = _decoded(signature_text)
        if "crit" in header or "b64" in header:
            raise Unauthenticated("The token's header has critical extensions, which are not understood here.")

        # 2. type, algorithm, key id
        kid = self._key_id(header)

        # 3. issuer
        if claims.get("iss") != self._issuer:
            raise Unauthenticated("The token is of another issuer than the one that this server trusts.")

        # 4. signature
        key = self._keys.key(kid, now)
        if not _signed(f"{header_text}.{payload_text}".encode(), signature, key, header["alg"]):
            raise Unauthenticated("The token was tampered with: its signature does not fit what it says.")

        # 5. audience and time
        self._check_audience_and_time(claims, now)

        # 6. who
        return self._claims(claims)

    def _key_id(self, header: Json) -> str:
        algorithm, kind, kid = header.get("alg"), header.get("typ"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm.lower() == "none":
            raise Unauthenticated("The token is unsigned, so anybody could have made it.")
        if algorithm not in self._expected.algorithms:
            raise Unauthenticated("The token is signed with an algorithm that is not allowed here.")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise Unauthenticated(
                "The token is not an access token: its header's typ is not at+jwt (RFC 9068). Send no ID token."
            )
        if not isinstance(kid, str) or not kid:
            raise Unauthenticated("The token does not say which key signed it: its header has no kid.")
        return kid

    def _check_audience_and_time(self, claims: Json, now: Instant) -> None:
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if self._expected.audience not in named:
            raise Unauthenticated("The token is for another audience than this server.")
        seconds, leeway = now / 1000, self._expected.leeway_s
        expires = _instant(claims, "exp")
        if expires is None:
            raise Unauthenticated("The token does not say when it expires: it has no exp.")
        if seconds >= expires + leeway:
            raise Unauthenticated("The token has expired. Get a new one from its issuer.")
        for name in ("nbf", "iat"):
            begins = _instant(claims, name)
            if begins is not None and begins > seconds + leeway:
                raise Unauthenticated(f"The token is not yet valid: its {name} lies ahead.")

    def _claims(self, claims: Json) -> Claims:
        expected = self._expected
        if "cnf" in claims:
            raise Unauthenticated("The token is bound to a key of its holder's (cnf), which is not checked here.")
        subject = claims.get(expected.subject_claim)
        if not _is_name(claims.get("sub")) or not _is_name(subject):
            raise Unauthenticated("The token does not say who it is about.")
        by_sub = expected.subject_claim == "sub"
        client = claims.get("client_id", claims.get("azp"))
        methods = claims.get("amr")
        return Claims(
            subject=subject,
            kind=(Kind.ASSISTANT if subject == client else Kind.USER) if by_sub else None,
            actors=tuple(self._actors(claims)),
            second_factor=claims.get("acr") in [*expected.second_factor_acr]
            or (isinstance(methods, list) and any(each in methods for each in expected.second_factor_amr)),
            namespace=expected.namespace,
        )

    def _actors(self, claims: Json) -> list[str]:
        """INVARIANT: who cannot be read in a chain makes the whole of it unreadable: none is passed over."""
        actors: list[str] = []
        holder: Json = claims
        while "act" in holder:
            act = holder["act"]
            if (
                not isinstance(act, dict)
                or not _is_name(act.get("sub"))
                or act.get("iss", self._issuer) != self._issuer
            ):
                raise Unauthenticated("The token's act claim cannot be read: each actor is named by its sub.")
            actors.append(act["sub"])
            if len(actors) > MAX_ACTORS:
                raise Unauthenticated(f"The token's chain of actors is longer than {MAX_ACTORS}.")
            holder = act
        return actors


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """The issuer's keys by id, and when they were fetched."""

    keys: Mapping[str, Key]
    fetched_at: Instant


class _KeyRing:
    """The issuer's keys, fetched when they are wanted, and held while the issuer is down: not for long."""

    def __init__(self, issuer: Issuer, *, refresh_s: float, max_stale_s: float) -> None:
        self._issuer = issuer
        self._refresh_ms, self._max_stale_ms = refresh_s * 1000, max_stale_s * 1000
        self._held: _Held | None = None
        self._fruitless_at: Instant | None = None
        """When a fetch last failed, or did not bring the key that it was for."""
        self._failed = False
        self._fetching = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)

    def key(self, kid: str, now: Instant) -> Key:
        """The key of that id. Raises `Unauthenticated` if the issuer has none, `Unavailable` if that cannot be told.

        A key that is held is used without waiting for anybody; only one request at a time looks whether it still is
        the issuer's. One that is not held is waited for by a few requests, while the others are told to come again.
        """
        held = self._held
        if held is not None and kid in held.keys:
            if self._is_older(held, now, self._refresh_ms) and self._fetching.acquire(blocking=False):
                try:
                    self._fetch(kid, now)
                finally:
                    self._fetching.release()
        elif self._waiting.acquire(blocking=False):
            try:
                with self._fetching:
                    if self._held is None or kid not in self._held.keys:  # nobody fetched it meanwhile
                        self._fetch(kid, now)
            finally:
                self._waiting.release()
        else:
            raise Unavailable("The token issuer's keys are being fetched. Try again in a moment.")
        return self._found(kid, now)

    def _found(self, kid: str, now: Instant) -> Key:
        held = self._held
        if held is None or self._is_older(held, now, self._max_stale_ms):
            raise Unavailable(
                "The token issuer's keys cannot be fetched, so no token can be verified. Try again later."
            )
        if kid in held.keys:
            return held.keys[kid]
        if self._failed:
            raise Unavailable("The token issuer cannot be asked for the key of this token. Try again later.")
        raise Unauthenticated("The token is signed with a key that is unknown: its issuer does not publish it.")

    def _fetch(self, kid: str, now: Instant) -> None:
        """Fetch, unless that was fruitless a moment ago. What it brings takes the place of everything held before."""
        if self._fruitless_at is not None and abs(now - self._fruitless_at) < _AGAIN_AFTER_S * 1000:
            return
        try:
            keys = _usable(self._issuer.fetch_keys())
        except Unavailable:
            self._failed, self._fruitless_at = True, now
            return
        self._failed, self._fruitless_at = False, None if kid in keys else now
        self._held = _Held(keys=keys, fetched_at=now)

    @staticmethod
    def _is_older(held: _Held, now: Instant, ms: float) -> bool:
        return now - held.fetched_at >= ms


def _usable(published: Sequence[Json]) -> dict[str, Key]:
    """Public keys for signatures by id. An id that two keys have is nobody's: either might be the one revoked."""
    if len(published) > _MAX_KEYS:
        raise Unavailable("The token issuer publishes more keys than are read here.")
    times = Counter(each.get("kid") for each in published if isinstance(each.get("kid"), str))
    keys: dict[str, Key] = {}
    for each in published:
        kid = each.get("kid")
        if times[kid] == 1 and isinstance(kid, str) and each.get("kty") in ("RSA", "EC", "OKP"):
            try:
                if each["kty"] != "RSA" or len(_decoded(str(each["n"])).lstrip(b"\0")) * 8 >= _LEAST_RSA_BITS:
                    key = import_key(dict(each))
                    assert isinstance(key, Key)
                    keys[kid] = key
            except (JoseError, Unauthenticated, ValueError, TypeError, KeyError):
                continue
    return keys


def _signed(signed: bytes, signature: bytes, key: Key, algorithm: str) -> bool:
    """INVARIANT: the key's own type, use and algorithm have to fit: a key verifies only what it was made for."""
    model = JWSRegistry.algorithms[algorithm]
    try:
        model.check_key(key)
        return model.verify(signed, signature, key)
    except (JoseError, ValueError, TypeError):
        return False


def _parts(token: str) -> tuple[str, str, str]:
    if len(token) > _MAX_TOKEN_CHARS:
        raise Unauthenticated(f"The token is longer than {_MAX_TOKEN_CHARS} characters, which none needs to be.")
    parts = token.split(".")
    if len(parts) != 3:
        raise _malformed()
    return parts[0], parts[1], parts[2]


def _object(part: str) -> Json:
    """INVARIANT: a name that is there twice makes it unreadable: readers differ on which of the two counts."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise ValueError("a name is there twice")
        return members

    try:
        found = json.loads(_decoded(part), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(found, dict):
        raise _malformed()
    return found


def _decoded(part: str) -> bytes:
    """base64url without padding (RFC 7515, 2), and nothing else."""
    if not _BASE64URL.fullmatch(part):
        raise _malformed()
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise _malformed() from error


def _malformed() -> Unauthenticated:
    return Unauthenticated("The token is no signed JWT: it has to be a header, claims and a signature.")


def _instant(claims: Json, name: str) -> float | None:
    """Seconds since 1970 (RFC 7519, 2)."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST_SECONDS:
        raise Unauthenticated(f"The token's {name} is no number of seconds.")
    return value


def _is_name(value: object) -> TypeGuard[str]:
    """Printable, so that it can be stored and looked up: no control characters, no half ones."""
    return isinstance(value, str) and 0 < len(value) <= 500 and value.isprintable()
