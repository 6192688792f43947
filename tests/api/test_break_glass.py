"""Breaking the glass: by a person with a second factor whom policy lets, for a time, within every forbid, loudly."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from app.adapters.local_embedder import LocalEmbedder, LocalTokenizer
from app.bootstrap import now
from app.domain.instants import Instant
from app.store import directory
from app.store.database import reading
from app.store.tables import NoticeRow
from ingest.ports import Parser
from tests.api.refusals import pointers, refusal
from tests.api.started import started
from tests.api.trusting import House, trusting
from tests.conftest import Clock
from tests.issuer import issuing
from tests.running import Running

EMERGENCY = {"ticket": "INC-7", "reason": "Terms are wanted tonight.", "minutes": 30, "collections": ["vault"]}
MFA = {"amr": ["pwd", "mfa"]}


@pytest.fixture(scope="module")
def furnished(
    tmp_path_factory: pytest.TempPathFactory, embedder: LocalEmbedder, tokenizer: LocalTokenizer, parser: Parser
) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("glass"), embedder=embedder, tokenizer=tokenizer, parser=parser) as run:
        for group in ("group:keepers", "group:others"):
            run.put_principal(group)
        run.put_principal("user:kim", groups=["group:keepers"], clearance="restricted", categories=["pii"])
        run.put_principal("user:otto", groups=["group:others"], clearance="restricted")
        run.put_principal("user:wanda", groups=["group:break-glass"], clearance="confidential")
        run.put_principal("user:ana", clearance="confidential")
        run.put_principal("user:sunniva", groups=["group:auditors"])
        run.put_principal("assistant:desk", clearance="restricted", categories=["pii"], may_assert=True)
        run.put_principal("assistant:low", clearance="public")
        run.put_collection("vault", owners=["group:keepers"])
        run.put_collection("other", owners=["group:others"])
        for uri, metadata in (
            ("terms", {}),
            ("confidential", {"label": {"level": "confidential"}}),
            ("above", {"label": {"level": "restricted"}}),
            ("personal", {"label": {"categories": ["pii"]}}),
            ("denied", {"denied": ["user:wanda"]}),
            ("european", {"jurisdictions": ["EU"]}),
        ):
            run.submit("user:kim", "vault", f"# {uri}\nA train is booked, {uri}.", uri=uri, **metadata)
        run.submit("user:otto", "other", "# Other\nA train is booked, otherwise.", uri="otherwise")
        run.work()
        yield run


@pytest.fixture
def house(furnished: Running) -> Iterator[House]:
    """At a time of its own, in which no glass is broken yet."""
    clock = Clock(step_ms=0)
    with reading(furnished.ports.engine) as session:
        _, recorded = directory.epochs_and_instant(session)
    clock.set(Instant(max(now(), recorded)))
    with issuing(clock.now() / 1000) as issuer:
        house = trusting(furnished, issuer, clock)
        for each in seen(house, "user:sunniva"):
            if each["state"] == "open":
                furnished.request("DELETE", f"/v1/break-glass/{each['id']}", "user:sunniva")
        yield house


def token(house: House, who: str = "wanda", **claims: Any) -> str:
    return house.issuer.token(who, **{"exp": int(house.issuer.now_s) + 20_000, **MFA, **claims})


def broken(house: House, bearer: str, **emergency: Any) -> httpx.Response:
    return house.run.client.post(
        "/v1/break-glass", json={**EMERGENCY, **emergency}, headers={"Authorization": f"Bearer {bearer}"}
    )


def seen(house: House, who: str) -> list[dict[str, Any]]:
    listed = house.run.request("GET", "/v1/break-glass", who)
    assert listed.status_code == 200, listed.text
    found: list[dict[str, Any]] = listed.json()["broken_glasses"]
    return found


def boundary_check(house: House, bearer: str) -> dict[str, Any]:
    checks = house.ask(bearer).json()["checks"]
    found: dict[str, Any] = next(check for check in checks if check["check"] == "boundary")
    return found


def test_broken_glass_opens_the_collection_and_no_rule_that_forbids(house: House) -> None:
    bearer = token(house)
    assert house.found(bearer) == set()
    response = broken(house, bearer)
    assert response.status_code == 201, response.text
    body = response.json()
    assert {name: body[name] for name in ("subject", "ticket", "collections", "state")} == {
        "subject": "user:wanda",
        "ticket": "INC-7",
        "collections": ["vault"],
        "state": "open",
    }
    assert house.found(bearer) == {"terms", "confidential"}


def test_every_answer_under_it_says_so_and_every_trace_names_it(house: House) -> None:
    bearer = token(house)
    assert "glass" not in boundary_check(house, bearer)["reason"]
    glass = broken(house, bearer).json()
    check = boundary_check(house, bearer)
    assert check["outcome"] == "warned"
    assert f"The glass is broken (ticket INC-7): vault is open to user:wanda until {glass['ends']}" in check["reason"]
    assert "granted-see" in check["policies"]
    headers = {"Authorization": f"Bearer {bearer}"}
    answer = house.ask(bearer).json()
    trace = house.run.request("GET", f"/v1/traces/{answer['trace_id']}", "user:sunniva").json()
    assert trace["grounds"]["grants"] == [glass["id"]]
    document = answer["passages"][0]["citation"]["document_id"]
    assert house.run.client.get(f"/v1/documents/{document}/versions/1/text", headers=headers).status_code == 200
    read = house.run.request("GET", "/v1/traces?limit=1", "user:sunniva").json()["traces"][0]
    assert (read["kind"], read["request"]["grants"]) == ("read", [glass["id"]])
    elsewhere = house.run.client.post(
        "/v1/retrieve", json={"query": "train", "collections": ["other"]}, headers=headers
    ).json()
    assert "glass" not in str(elsewhere["checks"])


def test_it_is_loud(house: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="app.operations.break_glass"):
        glass = broken(house, token(house), collections=["vault", "other"]).json()
        house.run.request("DELETE", f"/v1/break-glass/{glass['id']}", "user:kim")
    begun, ended = (record.getMessage() for record in caplog.records)
    assert begun.startswith(f"BREAK-GLASS {glass['id']}: user:wanda opened other, vault")
    assert ended == f"BREAK-GLASS {glass['id']}: ended by user:kim"
    traces = house.run.request("GET", "/v1/traces?limit=2", "user:sunniva").json()["traces"]
    assert [(each["kind"], each["outcome"], each["subject"]) for each in traces] == [
        ("break-glass", "ended", "user:kim"),
        ("break-glass", "broken", "user:wanda"),
    ]
    assert traces[1]["request"]["ticket"] == "INC-7"
    with reading(house.run.ports.engine) as session:
        rows = session.scalars(select(NoticeRow).order_by(col(NoticeRow.id).desc()).limit(4)).all()
    told = {row.recipient: (row.kind, row.about.get("collections")) for row in rows}
    assert told == {
        "group:auditors": ("break-glass", ["other", "vault"]),
        "group:keepers": ("break-glass", ["vault"]),
        "group:others": ("break-glass", ["other"]),
        "user:wanda": ("break-glass-ended", None),
    }


def test_it_ends_by_its_time_with_the_very_next_request(house: House) -> None:
    bearer = token(house)
    glass = broken(house, bearer).json()
    house.pass_s(30 * 60 - 1)
    assert house.found(bearer) == {"terms", "confidential"}
    house.pass_s(2)
    assert house.found(bearer) == set()
    assert "glass" not in boundary_check(house, bearer)["reason"]
    assert next(each["state"] for each in seen(house, "user:sunniva") if each["id"] == glass["id"]) == "over"
    again = house.run.request("DELETE", f"/v1/break-glass/{glass['id']}", "user:sunniva")
    assert "over" in refusal(house.run, again, 409, "conflict")["detail"]


@pytest.mark.parametrize("who", ["user:kim", "user:sunniva", "user:wanda"])
def test_owner_auditor_and_whoever_broke_it_end_it_at_once(house: House, who: str) -> None:
    bearer = token(house)
    glass = broken(house, bearer).json()
    assert house.found(bearer)
    path = f"/v1/break-glass/{glass['id']}"
    assert house.run.request("DELETE", path, who).status_code == 204
    assert house.found(bearer) == set()
    ended = next(each for each in seen(house, "user:sunniva") if each["id"] == glass["id"])
    assert (ended["state"], ended["ended_by"]) == ("ended", who)
    refusal(house.run, house.run.request("DELETE", path, who), 409, "conflict")


def test_it_is_seen_by_whom_it_concerns_and_absent_to_others(house: House) -> None:
    glass = broken(house, token(house), collections=["vault", "other"]).json()
    shown = {
        who: [each["collections"] for each in seen(house, who) if each["id"] == glass["id"]]
        for who in ("user:sunniva", "user:wanda", "user:kim", "user:otto", "user:ana", "admin", "assistant:desk")
    }
    both = ["other", "vault"]
    assert shown == {
        "user:sunniva": [both],
        "user:wanda": [both],
        "user:kim": [["vault"]],
        "user:otto": [["other"]],
        "user:ana": [],
        "admin": [],
        "assistant:desk": [],
    }
    hidden = house.run.request("DELETE", f"/v1/break-glass/{glass['id']}", "user:ana")
    absent = house.run.request("DELETE", "/v1/break-glass/gr_none", "user:ana")
    problems = [refusal(house.run, each, 404, "not-found") for each in (hidden, absent)]
    assert problems[0]["detail"] == problems[1]["detail"]
    assert house.found(token(house))


def test_glass_is_broken_by_a_person_alone_with_a_second_factor(house: House) -> None:
    desk = house.run.key("assistant:desk")
    refused = [
        broken(house, token(house, amr=["pwd"])),
        broken(house, token(house, amr="mfa")),
        broken(house, house.run.key("user:wanda")),
        broken(house, token(house, act={"sub": "desk"})),
        broken(house, token(house, "desk", client_id="desk")),
        broken(house, house.run.key("admin")),
        house.run.client.post(
            "/v1/break-glass",
            json=EMERGENCY,
            headers={"Authorization": f"Bearer {desk}", "Muniment-Subject-Token": token(house)},
        ),
        house.run.client.post(
            "/v1/break-glass",
            json=EMERGENCY,
            headers={"Authorization": f"Bearer {desk}", "Muniment-On-Behalf-Of": "user:wanda"},
        ),
    ]
    for response in refused:
        assert "second factor" in refusal(house.run, response, 403, "not-permitted")["detail"]
    latest = house.run.request("GET", "/v1/traces?limit=1", "user:sunniva").json()["traces"][0]
    assert (latest["kind"], latest["request"]["path"]) == ("refusal", "/v1/break-glass")
    assert house.found(token(house)) == set()


def test_glass_is_broken_by_those_whom_policy_lets_and_nobody_learns_what_there_is(house: House) -> None:
    """Administrators, owners, auditors and staff are not in the group by being that."""
    for collections in (["vault"], ["nowhere"]):
        for who in ("ana", "kim", "sunniva", "stranger"):
            response = broken(house, token(house, who), collections=collections)
            problem = refusal(house.run, response, 403, "not-permitted")
            assert "group:break-glass" in problem["detail"]


def test_second_factor_is_told_by_the_acr_too_if_it_is_configured(furnished: Running, house: House) -> None:
    by_acr = trusting(furnished, house.issuer, house.clock, second_factor_acr="phr, phrh", second_factor_amr="")
    refusal(by_acr.run, broken(by_acr, token(house)), 403, "not-permitted")
    assert broken(by_acr, token(house, amr=None, acr="phrh")).status_code == 201


def test_it_is_asked_for_in_full_and_within_the_limit(house: House) -> None:
    bearer = token(house)
    problem = refusal(house.run, broken(house, bearer, minutes=61, collections=["nowhere"]), 422, "invalid")
    assert pointers(problem) == ["/collections", "/minutes"]
    last = house.run.request("GET", "/v1/traces?limit=1", "user:sunniva").json()["traces"][0]
    assert (last["kind"], last["request"]["collections"]) == ("refusal", ["nowhere"])
    for field, value in (("ticket", ""), ("reason", ""), ("minutes", 0), ("collections", [])):
        refusal(house.run, broken(house, bearer, **{field: value}), 422, "invalid")
    assert house.found(bearer) == set()


def test_it_is_good_only_for_the_person_with_a_second_factor(house: House) -> None:
    """A key, a weaker token or an assistant's word of the same person open nothing; a proven chain, within its own."""
    glass = broken(house, token(house)).json()
    assert glass["state"] == "open"
    desk = house.run.key("assistant:desk")
    assert house.found(house.run.key("user:wanda")) == set()
    assert house.found(token(house, amr=["pwd"])) == set()
    assert house.found(desk, **{"Muniment-On-Behalf-Of": "user:wanda"}) == set()
    assert house.found(desk, **{"Muniment-Subject-Token": house.run.key("user:wanda")}) == set()
    assert house.found(desk, **{"Muniment-Subject-Token": token(house)}) == {"terms", "confidential"}
    assert house.found(token(house, act={"sub": "low"})) == set()
    assert house.found(token(house, "ana")) == set()


def test_whoever_is_switched_off_sees_nothing_through_it(house: House) -> None:
    house.run.put_principal("user:brief", groups=["group:break-glass"])
    bearer = token(house, "brief")
    assert broken(house, bearer).status_code == 201
    assert house.found(bearer) == {"terms", "denied"}
    house.run.put_principal("user:brief", groups=["group:break-glass"], active=False)
    assert house.ask(bearer).json()["outcome"] == "blocked"
