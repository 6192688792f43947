"""A token issuer's keys, fetched by httpx: from where it says they are, of a bounded size, within a bounded time."""

import ipaddress
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from app.domain.errors import Invalid, Unavailable

_TIMEOUT_S = 2.0
"""Of each wait for the issuer."""
_WHOLE_TIMEOUT_S = 4.0
"""Of one document, however steadily it trickles."""
_MAX_BYTES = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Where tokens come from. Without `jwks_url`, the issuer's own metadata say where its keys are."""

    url: str
    jwks_url: str | None = None

    def __post_init__(self) -> None:
        """Raises `Invalid` for an address that keys must not be fetched from."""
        for name, url in (("ISSUER", self.url), ("JWKS_URL", self.jwks_url)):
            if url is not None and not _trustworthy(url):
                raise Invalid(f"MUNIMENT_OIDC__{name} must be an https address (http only on this machine itself).")

    def fetch_keys(self) -> Sequence[Mapping[str, Any]]:
        """The JWKs as they are published. Raises `Unavailable`."""
        document = _fetched(self.jwks_url or self._discovered())
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise Unavailable("The token issuer's keys are not a JSON Web Key Set.")
        return [key for key in keys if isinstance(key, dict)]

    def _discovered(self) -> str:
        """OpenID Connect Discovery 1.0, 4; else RFC 8414, 3.1, whose path goes in front of the issuer's."""
        parts = httpx.URL(self.url)
        path = parts.path.rstrip("/")
        for where in (
            f"{path}/.well-known/openid-configuration",
            f"/.well-known/oauth-authorization-server{path}",
        ):
            try:
                metadata = _fetched(str(parts.copy_with(path=where)))
            except _Absent:
                continue
            if metadata.get("issuer") != self.url:  # RFC 8414, 3.3: else one issuer could speak for another
                raise Unavailable("The token issuer's metadata are of another issuer than the one configured.")
            found = metadata.get("jwks_uri")
            if not isinstance(found, str) or not _trustworthy(found):
                raise Unavailable("The token issuer's metadata name no address that keys may be fetched from.")
            return found
        raise Unavailable("The token issuer publishes no metadata: set MUNIMENT_OIDC__JWKS_URL.")


class _Absent(Unavailable):
    """The issuer answers, and has no such document."""


def _fetched(url: str) -> Mapping[str, Any]:
    """A JSON object. A redirection is not followed: whoever can redirect would choose the keys."""
    ends = time.monotonic() + _WHOLE_TIMEOUT_S
    content = b""
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=not _is_loopback(url)) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code == 404:
                raise _Absent("The token issuer has no such document.")
            if response.status_code != 200:
                raise Unavailable("The token issuer does not give its keys out.")
            for part in response.iter_bytes():
                content += part
                if len(content) > _MAX_BYTES or time.monotonic() > ends:
                    raise Unavailable("The token issuer's answer is too long, or takes too long.")
        document = json.loads(content)
    except (httpx.HTTPError, ValueError, RecursionError) as error:
        raise Unavailable("The token issuer cannot be reached, or its answer cannot be read.") from error
    if not isinstance(document, dict):
        raise Unavailable("The token issuer's answer is no JSON object.")
    return document


def _trustworthy(url: str) -> bool:
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return False
    if not parts.host or parts.userinfo or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(url))


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
