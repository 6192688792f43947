"""Access tokens of a real issuer: taken for what they prove, refused with the reason, and whole chains of actors."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import now
from ingest.ports import Parser
from tests.api.refusals import refusal
from tests.api.started import started
from tests.api.trusting import QUESTION, House, trusting
from tests.conftest import Clock
from tests.issuer import AUDIENCE, SigningKey, TestIssuer, decoded, encoded, issuing
from tests.running import Running


@pytest.fixture(scope="module")
def furnished(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("tokens"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        run.put_principal("group:owners")
        run.put_principal("user:olga", groups=["group:owners"])
        run.put_principal("user:ana", clearance="confidential")
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("user:gone", active=False)
        run.put_principal("assistant:desk", clearance="confidential", may_assert=True)
        run.put_principal("assistant:planner", clearance="confidential")
        run.put_principal("assistant:searcher", clearance="internal")
        run.put_principal("assistant:suspended", clearance="restricted", active=False)
        run.put_collection("open", owners=["group:owners"], default_readers=["group:all-staff"])
        run.submit("user:olga", "open", "# Trains\nA train is booked, plainly.", uri="plain")
        run.submit("user:olga", "open", "# Own\nA train is booked, by desk.", uri="desk", readers=["assistant:desk"])
        run.work()
        run.put_principal("user:olga", groups=["group:owners"], clearance="restricted")
        label = {"level": "confidential"}
        run.submit("user:olga", "open", "# Secret\nA train is booked, in confidence.", uri="secret", label=label)
        run.work()
        yield run


@pytest.fixture
def house(furnished: Running) -> Iterator[House]:
    clock = Clock(step_ms=0)
    clock.set(now())
    with issuing(clock.now() / 1000) as issuer:
        yield trusting(furnished, issuer, clock)


# -- What is taken, and what is not ------------------------------------------------------------------------------------


def test_valid_token_is_answered_as_the_person_it_is_about(house: House) -> None:
    assert house.found(house.issuer.token("ana")) == {"plain", "secret"}
    assert house.found(house.issuer.token("user:ana")) == {"plain", "secret"}
    assert house.found(house.issuer.token("ana", aud=["https://else.example", AUDIENCE])) == {"plain", "secret"}
    media_type = {"typ": "application/AT+JWT"}
    assert house.identity(house.issuer.token("ana", header=media_type)) == "user:ana, proven by its own credential."
    assert house.issuer.fetched == ["/.well-known/openid-configuration", "/jwks"]


def _hmac_with_the_public_key(issuer: TestIssuer) -> str:
    key = issuer.keys[0]
    content = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{encoded(issuer.claims('ana'))}"
    return f"{content}.{encoded(hmac.new(key.raw, content.encode(), hashlib.sha256).digest())}"


def _with_other_claims(token: str, **claims: Any) -> str:
    """The token with some of its claims changed under the same signature."""
    header, said, signature = token.split(".")
    return f"{header}.{encoded({**decoded(said), **claims})}.{signature}"


def _doubled(issuer: TestIssuer) -> str:
    """A token that says twice who it is about."""
    key, claims = issuer.keys[0], issuer.claims("ana")
    said = encoded(b'{"sub": "olga", ' + json.dumps(claims)[1:].encode())
    content = f"{encoded({'alg': 'Ed25519', 'typ': 'at+jwt', 'kid': key.kid})}.{said}"
    return f"{content}.{key.sign(content)}"


def _by_another_key(issuer: TestIssuer) -> str:
    published = issuer.keys[0]
    forged = replace(issuer, keys=[SigningKey(kid=published.kid)])
    return forged.token("ana")


REFUSED = {
    "expired": (lambda i: i.token("ana", exp=int(i.now_s) - 60), "has expired"),
    "without an end": (lambda i: i.token("ana", exp=None), "it has no exp"),
    "end that is no number": (lambda i: i.token("ana", exp="tomorrow"), "exp is no number"),
    "end beyond numbers": (lambda i: i.token("ana", exp=10**400), "exp is no number"),
    "not yet valid": (lambda i: i.token("ana", nbf=int(i.now_s) + 60), "its nbf lies ahead"),
    "issued ahead": (lambda i: i.token("ana", iat=int(i.now_s) + 60), "its iat lies ahead"),
    "wrong audience": (lambda i: i.token("ana", aud="https://else.example"), "for another audience"),
    "no audience": (lambda i: i.token("ana", aud=None), "for another audience"),
    "wrong issuer": (lambda i: i.token("ana", iss="https://else.example"), "of another issuer"),
    "none": (lambda i: i.token("ana", header={"alg": "none"}), "unsigned"),
    "nOnE": (lambda i: i.token("ana", header={"alg": "nOnE"}).rpartition(".")[0] + ".", "unsigned"),
    "HS256 with the public key": (_hmac_with_the_public_key, "algorithm that is not allowed"),
    "without kid": (lambda i: i.token("ana", header={"kid": None}), "has no kid"),
    "unknown kid": (lambda i: i.token("ana", header={"kid": "made-up"}), "key that is unknown"),
    "ID token": (lambda i: i.token("ana", header={"typ": "JWT"}), "not an access token"),
    "without typ": (lambda i: i.token("ana", header={"typ": None}), "not an access token"),
    "critical extension": (lambda i: i.token("ana", header={"crit": ["exp"]}), "critical extensions"),
    "unencoded payload": (lambda i: i.token("ana", header={"b64": False}), "critical extensions"),
    "another algorithm of the same key": (lambda i: i.token("ana", header={"alg": "ES256"}), "tampered with"),
    "signed by somebody else": (_by_another_key, "tampered with"),
    "tampered subject": (lambda i: _with_other_claims(i.token("ana"), sub="olga"), "tampered with"),
    "tampered act": (
        lambda i: _with_other_claims(i.token("ana", act={"sub": "searcher"}), act={"sub": "planner"}),
        "tampered with",
    ),
    "act taken out": (lambda i: _with_other_claims(i.token("ana", act={"sub": "searcher"}), act=None), "tampered with"),
    "subject twice": (_doubled, "no signed JWT"),
    "no JSON": (lambda i: "eyJhbGciOiJub25lIn0.bm90IGpzb24.AAAA", "no signed JWT"),
    "two parts": (lambda i: i.token("ana").rpartition(".")[0], "no signed JWT"),
    "huge": (lambda i: i.token("ana", groups=["x" * 20_000]), "longer than 16000 characters"),
    "without sub": (lambda i: i.token(""), "who it is about"),
    "sub that is no id": (lambda i: i.token("auth0|123"), "no id of this directory"),
    "sub that is a group": (lambda i: i.token("group:administrators"), "no id of this directory"),
    "bound to a key": (lambda i: i.token("ana", cnf={"jkt": "abc"}), "bound to a key"),
    "bootstrap administrator": (lambda i: i.token("administrator"), "neither a person nor an assistant"),
    "act without sub": (lambda i: i.token("ana", act={"act": {"sub": "planner"}}), "act claim cannot be read"),
    "act of another issuer": (
        lambda i: i.token("ana", act={"sub": "planner", "iss": "https://else.example"}),
        "act claim cannot be read",
    ),
    "person as actor": (lambda i: i.token("ana", act={"sub": "user:olga"}), "actor that is no assistant"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_token_is_refused_with_the_reason(house: House, case: str) -> None:
    made, reason = REFUSED[case]
    assert reason in house.refused(made(house.issuer))


def test_clocks_may_be_apart_by_the_leeway_and_no_more(house: House) -> None:
    second = int(house.issuer.now_s)
    for claims in ({"exp": second - 29}, {"nbf": second + 30}, {"iat": second + 30}):
        assert house.found(house.issuer.token("ana", **claims)) == {"plain", "secret"}
    for claims in ({"exp": second - 31}, {"nbf": second + 32}, {"iat": second + 32}):
        house.refused(house.issuer.token("ana", **claims))


def test_token_ends_with_its_time(house: House) -> None:
    token = house.issuer.token("ana")
    assert house.found(token)
    house.pass_s(331)
    assert "has expired" in house.refused(token)


def test_header_that_is_sent_twice_is_nobodys(house: House) -> None:
    one, other = house.issuer.token("ana"), house.issuer.token("olga")
    headers = [("Authorization", f"Bearer {one}"), ("Authorization", f"Bearer {other}")]
    response = house.run.client.post("/v1/retrieve", json={"query": QUESTION}, headers=headers)
    refusal(house.run, response, 401, "unauthenticated")


def test_server_without_issuer_says_so(furnished: Running, house: House) -> None:
    token = house.issuer.token("ana")
    response = furnished.client.get("/v1/documents", headers={"Authorization": f"Bearer {token}"})
    assert "no token issuer" in refusal(furnished, response, 401, "unauthenticated")["detail"]


# -- Whom it means -----------------------------------------------------------------------------------------------------


def test_claims_widen_nothing(house: House) -> None:
    """The directory is the authority: groups, scopes and roles of a token open no door."""
    claims = {"groups": ["owners", "group:owners"], "roles": ["group:administrators"], "clearance": "restricted"}
    token = house.issuer.token("sunniva", **claims, scope="manage")
    assert house.found(token) == {"plain"}
    response = house.run.client.get("/v1/principals", headers={"Authorization": f"Bearer {token}"})
    refusal(house.run, response, 403, "not-permitted")


def test_person_whom_the_directory_does_not_know_is_as_one_who_left(house: House) -> None:
    answers = [house.ask(house.issuer.token(who)).json() for who in ("stranger", "gone")]
    for answer in answers:
        assert (answer["outcome"], answer["passages"]) == ("blocked", [])
        assert answer["checks"][0]["policies"] == ["inactive-subject"]


def test_client_that_got_its_own_token_is_the_assistant_itself(house: House) -> None:
    assert house.found(house.issuer.token("desk", client_id="desk")) == {"desk"}
    assert house.identity(house.issuer.token("assistant:desk")) == "assistant:desk, proven by its own credential."
    client = house.identity(house.issuer.token("ana", client_id="desk", azp="desk"))
    assert client == "user:ana, proven by its own credential."


def test_names_of_the_issuer_mean_whom_the_registry_says_and_nobody_else(furnished: Running, house: House) -> None:
    issuer = house.issuer
    registered = trusting(furnished, issuer, house.clock, identities="idp")
    assert "PUT /v1/identities/idp" in registered.refused(issuer.token("auth0|123"))
    meant = [
        {"kind": "user", "value": "auth0|123", "principal": "user:ana"},
        {"kind": "user", "value": "client-7", "principal": "assistant:searcher"},
        {"kind": "user", "value": "crowd", "principal": "group:owners"},
    ]
    furnished.admin("PUT", "/v1/identities/idp", {"identities": meant})
    assert registered.found(issuer.token("auth0|123")) == {"plain", "secret"}
    assert registered.found(issuer.token("auth0|123", act={"sub": "client-7"})) == {"plain"}
    assert "neither a person" in registered.refused(issuer.token("crowd"))
    assert "no assistant" in registered.refused(issuer.token("auth0|123", act={"sub": "auth0|123"}))
    for unexplained in ("ana", "user:ana", "AUTH0|123"):
        registered.refused(issuer.token(unexplained))
    furnished.admin("PUT", "/v1/identities/idp", {"identities": meant[1:]})
    registered.refused(issuer.token("auth0|123"))


def test_claim_that_people_choose_names_people_alone(furnished: Running, house: House) -> None:
    issuer = house.issuer
    by_name = trusting(furnished, issuer, house.clock, subject_claim="preferred_username")
    assert by_name.found(issuer.token("0b7e", preferred_username="ana")) == {"plain", "secret"}
    for chosen in ("assistant:desk", "user:ana"):
        assert "no id of this directory" in by_name.refused(issuer.token("0b7e", preferred_username=chosen))
    assert by_name.identity(issuer.token("0b7e", preferred_username="desk", client_id="desk")).startswith("Whoever")


# -- Delegation --------------------------------------------------------------------------------------------------------

CHAIN = {"sub": "searcher", "act": {"sub": "planner", "act": {"sub": "desk"}}}


def test_actor_of_a_token_narrows_what_its_subject_sees(house: House) -> None:
    assert house.found(house.issuer.token("ana", act={"sub": "planner"})) == {"plain", "secret"}
    assert house.found(house.issuer.token("ana", act={"sub": "searcher"})) == {"plain"}
    assert house.found(house.issuer.token("ana", act={"sub": "assistant:searcher"})) == {"plain"}


def test_every_actor_of_a_chain_is_a_ceiling_and_on_record(house: House) -> None:
    """Whoever stands where in the chain: its lowest clearance counts."""
    issuer = house.issuer
    token = issuer.token("ana", act=CHAIN)
    assert house.found(token) == {"plain"}
    assert house.found(issuer.token("ana", act={"sub": "planner", "act": {"sub": "searcher"}})) == {"plain"}
    assert house.found(issuer.token("ana", act={"sub": "planner", "act": {"sub": "desk"}})) == {"plain", "secret"}
    answer = house.ask(token).json()
    checks = {check["check"]: check["reason"] for check in answer["checks"]}
    assert checks["identity"] == (
        "user:ana (proven by its own credential), through assistant:desk, through assistant:planner, "
        "through assistant:searcher."
    )
    assert "Cleared up to internal" in checks["clearance"]
    for link in ("user:ana", "assistant:desk", "assistant:planner", "assistant:searcher"):
        assert link in checks["clearance"]
    path = f"/v1/traces/{answer['trace_id']}"
    trace = house.run.request("GET", path, "user:sunniva").json()
    assert (trace["subject"], trace["actor"]) == ("user:ana", "assistant:searcher")
    assert trace["actors"] == ["assistant:searcher", "assistant:planner", "assistant:desk"]


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("who", ["suspended", "unheard-of"])
def test_chain_with_one_suspended_or_unknown_actor_is_blocked(house: House, place: int, who: str) -> None:
    names = ["searcher", "planner", "desk"]
    names[place] = who
    act: dict[str, Any] = {}
    for name in reversed(names):
        act = {"sub": name, **({"act": act} if act else {})}
    answer = house.ask(house.issuer.token("ana", act=act)).json()
    assert (answer["outcome"], answer["passages"]) == ("blocked", [])
    blocked = [check for check in answer["checks"] if check["outcome"] == "blocked"]
    assert [(check["check"], check["policies"]) for check in blocked] == [("identity", ["inactive-actor"])]
    token = house.issuer.token("ana", act=act)
    listed = house.run.client.get("/v1/documents", headers={"Authorization": f"Bearer {token}"})
    assert listed.json()["documents"] == []


def test_chain_has_an_end(house: House) -> None:
    act: dict[str, Any] = {"sub": "planner"}
    for _ in range(4):
        act = {"sub": "planner", "act": act}
    assert house.found(house.issuer.token("ana", act=act)) == {"plain", "secret"}
    assert "longer than 5" in house.refused(house.issuer.token("ana", act={"sub": "planner", "act": act}))
    through = {"Muniment-Subject-Token": house.issuer.token("ana", act=act)}
    assert "more than 5 actors" in house.refused(house.run.key("assistant:desk"), **through)


def test_exchanged_token_carries_the_whole_chain(house: House) -> None:
    issuer = house.issuer

    def exchanged(subject: str, actor: str) -> str:
        sent = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": subject,
            "actor_token": issuer.token(actor, client_id=actor),
        }
        return str(httpx.post(f"{issuer.url}/token", data=sent, trust_env=False).json()["access_token"])

    first = exchanged(issuer.token("ana"), "planner")
    assert house.identity(first) == "user:ana (proven by its own credential), through assistant:planner."
    second = exchanged(first, "searcher")
    assert house.identity(second).endswith("through assistant:planner, through assistant:searcher.")


def test_tokens_and_keys_go_together(house: House) -> None:
    """An assistant by key or token, for a person by token, key or word: each is on record for what it proves."""
    issuer, key = house.issuer, house.run.key("assistant:desk")
    desk = issuer.token("desk", client_id="desk")
    person = {"token": issuer.token("ana"), "key": house.run.key("user:ana")}
    for bearer in (key, desk):
        for credential in person.values():
            proven = {"Muniment-Subject-Token": credential}
            assert house.found(bearer, **proven) == {"plain", "secret"}
            assert "proven by its own credential" in house.identity(bearer, **proven)
        assert "asserted" in house.identity(bearer, **{"Muniment-On-Behalf-Of": "user:ana"})
    exchanged = {"Muniment-Subject-Token": issuer.token("ana", act={"sub": "searcher"})}
    assert house.identity(desk, **exchanged).endswith("through assistant:searcher, through assistant:desk.")
    assert house.found(desk, **exchanged) == {"plain"}


def test_person_and_chain_are_named_once(house: House) -> None:
    issuer = house.issuer
    key = {"Muniment-Subject-Token": house.run.key("user:olga")}
    for bearer in (issuer.token("ana"), issuer.token("ana", act={"sub": "desk"})):
        for header in (key, {"Muniment-On-Behalf-Of": "user:olga"}):
            refusal(house.run, house.ask(bearer, **header), 403, "not-permitted")
    desk = issuer.token("desk", client_id="desk")
    reason = house.refused(desk, **{"Muniment-Subject-Token": issuer.token("searcher", client_id="searcher")})
    assert "of a person" in reason
    expired = {"Muniment-Subject-Token": issuer.token("ana", exp=int(issuer.now_s) - 60)}
    assert house.refused(desk, **expired).startswith("Muniment-Subject-Token: The token has expired")
    through = issuer.token("desk", act={"sub": "searcher"})
    refusal(house.run, house.ask(through, **{"Muniment-On-Behalf-Of": "user:ana"}), 403, "not-permitted")


def test_part_of_a_chain_sees_traces_of_what_it_had_a_part_in(house: House) -> None:
    issuer = house.issuer
    made = {
        name: house.ask(issuer.token("ana", act=act)).json()["trace_id"]
        for name, act in (
            ("searcher for planner", {"sub": "searcher", "act": {"sub": "planner"}}),
            ("searcher", {"sub": "searcher"}),
            ("desk", {"sub": "desk"}),
        )
    }

    def seen(act: dict[str, Any] | None) -> set[str]:
        headers = {"Authorization": f"Bearer {issuer.token('ana', act=act)}"}
        listed = {each["id"] for each in house.run.client.get("/v1/traces?limit=200", headers=headers).json()["traces"]}
        named = {
            id for id in made.values() if house.run.client.get(f"/v1/traces/{id}", headers=headers).status_code == 200
        }
        assert listed & set(made.values()) == named
        return {name for name, id in made.items() if id in named}

    assert seen(None) == set(made)
    assert seen({"sub": "searcher"}) == {"searcher for planner", "searcher"}
    assert seen({"sub": "planner"}) == {"searcher for planner"}
    assert seen({"sub": "searcher", "act": {"sub": "planner"}}) == {"searcher for planner"}
    assert seen({"sub": "desk", "act": {"sub": "planner"}}) == set()


# -- The issuer's keys -------------------------------------------------------------------------------------------------


def test_rotated_key_is_taken_at_once_and_the_old_one_no_longer(house: House) -> None:
    before = house.issuer.token("ana")
    assert house.found(before)
    house.issuer.rotate()
    assert house.found(house.issuer.token("ana"))
    assert "key that is unknown" in house.refused(before)


def test_withdrawn_key_ends_though_nobody_uses_another(house: House) -> None:
    token = house.issuer.token("ana", exp=int(house.issuer.now_s) + 10_000)
    assert house.found(token)
    house.issuer.rotate()
    assert house.found(token)
    house.pass_s(300)
    assert "key that is unknown" in house.refused(token)


def test_made_up_key_ids_make_one_fetch_in_a_while(house: House) -> None:
    token = house.issuer.token("ana")
    assert house.found(token)
    for n in range(20):
        assert "key that is unknown" in house.refused(house.issuer.token("ana", header={"kid": f"made-up-{n}"}))
    assert house.issuer.fetches_of_keys == 2
    assert house.found(token)
    house.pass_s(16)
    house.refused(house.issuer.token("ana", header={"kid": "made-up"}))
    assert house.issuer.fetches_of_keys == 3


def test_tokens_of_others_make_no_fetch_at_all(house: House) -> None:
    for n in range(5):
        house.refused(house.issuer.token("ana", iss="https://else.example", header={"kid": f"other-{n}"}))
        house.refused(house.issuer.token("ana", header={"alg": "none", "kid": f"none-{n}"}))
    assert house.issuer.fetched == []


def test_stranger_who_makes_us_wait_for_the_issuer_keeps_nobody_else_waiting(house: House) -> None:
    """While keys are fetched, whoever has a known key is answered, and of the others only a few wait."""
    token = house.issuer.token("ana")
    assert house.found(token)
    asked, let_go = threading.Event(), threading.Event()
    answer = house.issuer.answer

    def slowly(path: str, body: str | None) -> tuple[int, dict[str, str], bytes]:
        if path == "/jwks":
            asked.set()
            assert let_go.wait(10)
        return answer(path, body)

    house.issuer.answer = slowly  # type: ignore[method-assign]
    statuses: list[int] = []

    def stranger(n: int) -> None:
        statuses.append(house.ask(house.issuer.token("ana", header={"kid": f"made-up-{n}"})).status_code)

    first = threading.Thread(target=stranger, args=(0,))
    first.start()
    assert asked.wait(10)
    others = [threading.Thread(target=stranger, args=(n,)) for n in range(1, 9)]
    for each in others:
        each.start()
    assert house.found(token)
    let_go.set()
    for each in (first, *others):
        each.join()
    assert set(statuses) <= {401, 503}
    assert statuses.count(401) >= 1
    assert house.issuer.fetches_of_keys == 2


def test_outage_is_bridged_with_the_keys_that_are_held_and_not_for_long(house: House) -> None:
    token = house.issuer.token("ana", exp=int(house.issuer.now_s) + 10_000)
    assert house.found(token)
    house.issuer.down = True
    for _ in range(3):
        house.pass_s(1100)
        assert house.found(token)
    house.pass_s(301)
    problem = refusal(house.run, house.ask(token), 503, "unavailable")
    assert "keys cannot be fetched" in problem["detail"]
    assert house.run.request("GET", "/v1/documents", "user:ana").status_code == 200
    house.issuer.down = False
    house.pass_s(16)
    assert house.found(token)


def test_during_an_outage_a_new_key_is_neither_taken_nor_called_unknown(house: House) -> None:
    assert house.found(house.issuer.token("ana"))
    house.issuer.rotate()
    house.issuer.down = True
    problem = refusal(house.run, house.ask(house.issuer.token("ana")), 503, "unavailable")
    assert "cannot be asked" in problem["detail"]


def test_issuer_that_was_never_reached_is_unavailable_and_not_hammered(house: House) -> None:
    house.issuer.down = True
    for _ in range(5):
        refusal(house.run, house.ask(house.issuer.token("ana")), 503, "unavailable")
    assert len(house.issuer.fetched) == 1


@pytest.mark.parametrize(
    ("path", "status", "headers", "body"),
    [
        ("/jwks", 302, {"Location": "/elsewhere"}, b""),
        ("/jwks", 200, {}, b'{"keys": "none"}'),
        ("/jwks", 200, {}, b"[" * 100_000),
        ("/jwks", 200, {}, b'{"keys": [], "more": "' + b"x" * 600_000 + b'"}'),
        ("/.well-known/openid-configuration", 200, {}, b'{"issuer": "https://else.example"}'),
        ("/.well-known/openid-configuration", 404, {}, b""),
    ],
    ids=["redirected", "no key set", "nested", "too large", "another issuer's", "no metadata"],
)
def test_keys_are_taken_only_from_where_the_issuer_has_them(
    house: House, path: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    elsewhere = {"keys": [house.issuer.keys[0].public_jwk]}
    house.issuer.answers["/elsewhere"] = (200, {}, json.dumps(elsewhere).encode())
    house.issuer.answers[path] = (status, headers, body)
    refusal(house.run, house.ask(house.issuer.token("ana")), 503, "unavailable")


def test_keys_that_are_not_for_this_are_passed_over(house: House) -> None:
    good = house.issuer.keys[0]
    odd = [
        {"kty": "oct", "kid": "secret", "k": encoded(b"x" * 32)},
        {"kty": "OKP", "kid": "broken", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "RSA", "kid": "small", "n": encoded(b"\xff" * 128), "e": "AQAB"},
        {**SigningKey(kid="twice").public_jwk},
        {**SigningKey(kid="twice").public_jwk},
        {**good.public_jwk, "kid": "for-encryption", "use": "enc"},
        {"kid": 7},
    ]
    keys = {"keys": [*odd, good.public_jwk]}
    house.issuer.answers["/jwks"] = (200, {}, json.dumps(keys).encode())
    assert house.found(house.issuer.token("ana"))
    for kid in ("secret", "broken", "small", "twice"):
        assert "key that is unknown" in house.refused(house.issuer.token("ana", header={"kid": kid}))
    assert "tampered" in house.refused(house.issuer.token("ana", header={"kid": "for-encryption"}))


# -- What it costs -----------------------------------------------------------------------------------------------------


def test_token_costs_no_more_queries_than_a_key(house: House) -> None:
    statements: list[str] = []
    event.listen(house.run.ports.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    token, key = house.issuer.token("ana"), house.run.key("user:ana")

    def cost(bearer: str) -> int:
        house.ask(bearer)
        before = len(statements)
        house.ask(bearer)
        return len(statements) - before

    assert cost(token) == cost(key)


# -- What goes on in the name of a chain -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
def test_source_that_a_chain_registered_stops_when_one_of_the_chain_is_suspended(house: House, place: int) -> None:
    run, name = house.run, f"shelf-{place}"
    chain = [f"assistant:sender-{place}", f"assistant:behind-{place}"]
    for actor in chain:
        run.put_principal(actor, clearance="restricted")
    act = {"sub": chain[0], "act": {"sub": chain[1]}}
    headers = {"Authorization": f"Bearer {house.issuer.token('olga', act=act)}"}
    at = f"/v1/collections/open/sources/{name}"
    folder = run.places / name
    folder.mkdir(parents=True)
    (folder / f"{name}.md").write_text("# Page\nThe shelf has a page.")
    body = {"connector": "folder", "location": str(folder)}
    assert run.client.put(at, json=body, headers=headers).status_code == 200

    def carried_out() -> dict[str, Any]:
        asked = run.request("POST", f"{at}/run", "user:olga", json={})
        run.work()
        report: dict[str, Any] = run.request("GET", asked.headers["Location"], "user:olga").json()
        return report

    assert carried_out()["counts"]["new"] == 1
    run.put_principal(chain[place], clearance="restricted", active=False)
    report = carried_out()
    assert report["state"] == "failed"
    assert f"user:olga through {chain[1]} through {chain[0]} registered this source" in report["problem"]["detail"]
