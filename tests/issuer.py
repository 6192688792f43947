"""A small token issuer: a real HTTP server with metadata, keys and an endpoint that exchanges tokens (RFC 8693).

It can be told to rotate its keys, to go down, and to sign whatever a test needs to be refused.
"""

import base64
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AUDIENCE = "https://muniment.example"

Json = dict[str, Any]


def encoded(value: bytes | Mapping[str, Any]) -> str:
    """base64url without padding, of bytes or of a JSON object."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(part: str) -> Json:
    found: Json = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """An Ed25519 key and the id that it is published under."""

    kid: str = field(default_factory=lambda: secrets.token_hex(4))
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public_jwk(self) -> Json:
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "x": encoded(self.raw)}

    @property
    def raw(self) -> bytes:
        raw = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return bytes(raw)

    def sign(self, content: str) -> str:
        return encoded(self.private.sign(content.encode()))


@dataclass(kw_only=True)
class TestIssuer:
    """The issuer as a test holds it. `now_s` is its clock, in seconds."""

    __test__ = False
    url: str = ""
    now_s: float = 0
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey()])
    """The first signs; all of them are published."""
    down: bool = False
    fetched: list[str] = field(default_factory=list)
    """The paths that were asked for, in order."""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    """What is answered instead at a path: status, headers, body."""

    @property
    def fetches_of_keys(self) -> int:
        return self.fetched.count("/jwks")

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is published no longer."""
        self.keys = [SigningKey()]

    def claims(self, sub: str, **claims: Any) -> Json:
        """What an ordinary access token says, with `claims` on top; None leaves one out."""
        said = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": sub,
            "client_id": "portal",
            "iat": int(self.now_s),
            "exp": int(self.now_s) + 300,
            "jti": secrets.token_hex(8),
            **claims,
        }
        return {name: value for name, value in said.items() if value is not None}

    def token(self, sub: str, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A signed access token; None leaves a header or a claim out."""
        return self.signed(self.claims(sub, **claims), header=header)

    def signed(self, claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None) -> str:
        key = self.keys[0]
        said = {"alg": "Ed25519", "typ": "at+jwt", "kid": key.kid, **(header or {})}
        content = f"{encoded({k: v for k, v in said.items() if v is not None})}.{encoded(claims)}"
        return f"{content}.{key.sign(content)}"

    def exchange(self, subject_token: str, actor_token: str) -> str:
        """A token about the same subject for whoever the actor's token is about, with its chain before it."""
        subject, actor = (decoded(each.split(".")[1]) for each in (subject_token, actor_token))
        act: Json = {"sub": actor["sub"], **({"act": subject["act"]} if "act" in subject else {})}
        return self.signed({**subject, "act": act, "client_id": actor["sub"]})

    def answer(self, path: str, body: str | None) -> tuple[int, dict[str, str], bytes]:
        self.fetched.append(path)
        if path in self.answers:
            return self.answers[path]
        if self.down:
            return 503, {}, b"down"
        if path == "/.well-known/openid-configuration":
            return _json({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"})
        if path == "/jwks":
            return _json({"keys": [key.public_jwk for key in self.keys]})
        if path == "/token" and body is not None:
            sent = {name: values[0] for name, values in parse_qs(body).items()}
            assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
            token = self.exchange(sent["subject_token"], sent["actor_token"])
            return _json({"access_token": token, "token_type": "Bearer"})
        return 404, {}, b""


def _json(value: Json) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


@contextmanager
def issuing(now_s: float) -> Iterator[TestIssuer]:
    """An issuer that listens on this machine."""
    issuer = TestIssuer(now_s=now_s)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, body: str | None) -> None:
            status, headers, content = issuer.answer(self.path, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
