"""The token verifier against whatever can be sent: it takes a token whole or refuses it, and nothing else escapes."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.adapters.httpx_issuer import Issuer
from app.adapters.joserfc_tokens import ASYMMETRIC, Expected, JoserfcTokens
from app.domain.access import Kind
from app.domain.errors import Invalid, Unauthenticated
from app.domain.instants import Instant
from app.domain.tokens import Claims
from tests.issuer import AUDIENCE, TestIssuer, issuing

NOW = Instant(1_795_000_000_000)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["iss", "aud", "exp", "nbf", "iat", "sub", "act", "acr", "amr", "cnf", "client_id", "azp"]
HEADERS = ["alg", "typ", "kid", "crit", "b64", "jwk", "jku"]
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def issuer() -> Iterator[TestIssuer]:
    with issuing(NOW / 1000) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def tokens(issuer: TestIssuer) -> JoserfcTokens:
    return JoserfcTokens(Issuer(url=issuer.url), Expected(audience=AUDIENCE))


def claims_of(tokens: JoserfcTokens, token: str) -> Claims | None:
    """None if it is refused as a token is."""
    try:
        return tokens.verify(token, now=NOW)
    except Unauthenticated as refused:
        detail = refused.detail
    assert detail.startswith("The token")
    assert detail.endswith(".")
    return None


def test_token_is_read_as_what_it_says(issuer: TestIssuer, tokens: JoserfcTokens) -> None:
    token = issuer.token("ana", act={"sub": "b", "act": {"sub": "a"}}, amr=["pwd", "mfa"])
    assert tokens.verify(token, now=NOW) == Claims(subject="ana", kind=Kind.USER, actors=("b", "a"), second_factor=True)


@RELAXED
@given(claims=st.dictionaries(st.sampled_from(NAMES), JSON), header=st.dictionaries(st.sampled_from(HEADERS), JSON))
def test_whatever_a_token_says_it_is_read_or_refused(
    issuer: TestIssuer, tokens: JoserfcTokens, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    found = claims_of(tokens, issuer.token("ana", header=header, **{k: v for k, v in claims.items() if k != "sub"}))
    assert found is None or found.subject == "ana"
    claims_of(tokens, issuer.signed({**issuer.claims("ana"), **claims}))


@RELAXED
@given(at=st.integers(min_value=0), put=st.text(min_size=1, max_size=1))
def test_no_character_of_a_token_can_be_changed_so_that_it_says_something_else(
    issuer: TestIssuer, tokens: JoserfcTokens, at: int, put: str
) -> None:
    token = issuer.token("ana", act={"sub": "desk"})
    place = at % len(token)
    found = claims_of(tokens, token[:place] + put + token[place + 1 :])
    assert found is None or found == tokens.verify(token, now=NOW)


@RELAXED
@given(st.text(max_size=200) | st.text(alphabet="eyJ.abc0-_", max_size=60).map("eyJ".__add__))
def test_anything_at_all_is_refused(tokens: JoserfcTokens, sent: str) -> None:
    assert claims_of(tokens, sent) is None


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS512", "ES256K", ""])
def test_algorithms_that_are_unsafe_with_published_keys_cannot_be_configured(algorithm: str) -> None:
    with pytest.raises(Invalid, match="MUNIMENT_OIDC__ALGORITHMS"):
        Expected(audience=AUDIENCE, algorithms=ASYMMETRIC | {algorithm})


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "https://",
        "https://user:secret@login.example",
        "https://login.example/?a=b",
        "https://login.example/#x",
        "login.example",
    ],
)
def test_keys_are_fetched_over_https_alone_save_on_this_machine(url: str) -> None:
    for settings_of_issuer in ({"url": url}, {"url": "https://login.example", "jwks_url": url}):
        with pytest.raises(Invalid, match="MUNIMENT_OIDC__"):
            Issuer(**settings_of_issuer)


def test_metadata_of_an_issuer_with_a_path_are_found_both_ways(issuer: TestIssuer) -> None:
    url = f"{issuer.url}/realms/one"
    document = f'{{"issuer": "{url}", "jwks_uri": "{issuer.url}/jwks"}}'.encode()
    for where in ("/realms/one/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/one"):
        issuer.answers = {where: (200, {}, document)}
        assert len(Issuer(url=url).fetch_keys()) == 1
    issuer.answers = {}
