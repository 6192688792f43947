"""Muniment that trusts a test's own token issuer."""

from dataclasses import dataclass, replace
from typing import Any

import httpx
from fastapi.testclient import TestClient

from app.bootstrap import token_verifier
from app.domain.instants import Instant
from app.settings import OidcSettings
from tests.api.refusals import refusal
from tests.conftest import Clock
from tests.issuer import AUDIENCE, TestIssuer
from tests.running import Running, app_on

QUESTION = "When is a train booked?"


@dataclass(frozen=True, kw_only=True)
class House:
    """Muniment that trusts an issuer, and a clock for both that stands still until it is moved."""

    run: Running
    issuer: TestIssuer
    clock: Clock

    def pass_s(self, seconds: float) -> None:
        self.clock.set(Instant(self.clock.now() + int(seconds * 1000)))
        self.issuer.now_s += seconds

    def ask(self, bearer: str, **headers: str) -> httpx.Response:
        return self.run.client.post(
            "/v1/retrieve",
            json={"query": QUESTION, "top_k": 50},
            headers={"Authorization": f"Bearer {bearer}", **headers},
        )

    def found(self, bearer: str, **headers: str) -> set[str]:
        response = self.ask(bearer, **headers)
        assert response.status_code == 200, response.text
        return {passage["citation"]["uri"] for passage in response.json()["passages"]}

    def identity(self, bearer: str, **headers: str) -> str:
        """What the identity check of an answer says."""
        return str(self.ask(bearer, **headers).json()["checks"][0]["reason"])

    def refused(self, bearer: str, **headers: str) -> str:
        """Why a credential is refused, 401."""
        response = self.ask(bearer, **headers)
        assert response.headers["www-authenticate"].startswith("Bearer")
        return str(refusal(self.run, response, 401, "unauthenticated")["detail"])


def trusting(run: Running, issuer: TestIssuer, clock: Clock, **settings: Any) -> House:
    tokens = token_verifier(OidcSettings(issuer=issuer.url, audience=AUDIENCE, **settings))
    ports = replace(run.ports, tokens=tokens, now=clock.now)
    client = TestClient(app_on(ports), raise_server_exceptions=False)
    return House(run=replace(run, ports=ports, client=client), issuer=issuer, clock=clock)
