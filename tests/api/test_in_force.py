"""Twelve documents of six versions each, put in and corrected at random: what was in force when, in both times."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from app.domain.instants import Instant, iso, parse_instant
from tests.running import Running

DOCUMENTS = 12
VERSIONS = 6
CORRECTIONS = 15
QUARTERS = 40
"""From 2010 on; what has no end is in force in all that follow."""

_FIRST = parse_instant("2010-01-01")
_QUARTER_MS = 91 * 86_400_000


def _begin(quarter: int) -> Instant:
    return Instant(_FIRST + quarter * _QUARTER_MS)


@dataclass
class Reference:
    """The dumb one: the quarters in which each version of each document is held to be in force, in sets."""

    held: dict[tuple[str, int], set[int]] = field(default_factory=dict)

    def say(self, uri: str, version: int, quarters: range) -> bool:
        """That a version is in force then. False if it would leave nothing of one that was published later."""
        left = {}
        for (name, other), before in self.held.items():
            if name == uri and other != version and before & set(quarters):
                if quarters.start > min(before):
                    left[name, other] = {quarter for quarter in before if quarter < quarters.start}
                else:
                    left[name, other] = {quarter for quarter in before if quarter >= quarters.stop}
        published = (uri, version) in self.held
        if published and any(other > version and not kept for (_, other), kept in left.items()):
            return False
        self.held |= left
        self.held[uri, version] = set(quarters)
        return True

    def in_force(self, quarter: int) -> set[tuple[str, int]]:
        return {place for place, quarters in self.held.items() if quarter in quarters}


def test_what_was_in_force_is_told_and_never_another_whatever_was_put_in_and_corrected(run: Running) -> None:
    """Out of order, at equal instants, with gaps and ends that are past; corrected, as of then and as was known."""
    chance = Random(20261122)
    run.put_principal("user:ana")
    run.put_principal("user:bo")
    run.put_collection("rules", owners=["user:ana"], default_readers=["group:all-staff"])
    reference = Reference()
    documents: dict[str, str] = {}
    for version in range(1, VERSIONS + 1):
        for uri in [f"rule-{number}" for number in range(DOCUMENTS)]:
            quarters = _some_quarters(chance)
            reference.say(uri, version, quarters)
            text = f"The allowance of {uri} is {version} crowns."
            submitted = run.submit("user:ana", "rules", text, uri=uri, **_stated(quarters))
            assert submitted.status_code == 202, submitted.text
            documents[uri] = submitted.json()["document"]["id"]
    run.work()
    _tells(run, reference)

    known = _last_recorded(run, documents)
    before = Reference(held=dict(reference.held))
    refused = 0
    for _ in range(CORRECTIONS):
        uri, version = chance.choice(sorted(documents)), chance.randint(1, VERSIONS)
        quarters = _some_quarters(chance)
        body = {"valid_to": None, **_stated(quarters), "reason": "it was said wrong"}
        path = f"/v1/documents/{documents[uri]}/versions/{version}"
        corrected = run.request("PATCH", path, "user:ana", json=body)
        said = reference.say(uri, version, quarters)
        assert corrected.status_code == (200 if said else 409), corrected.text
        refused += not said
    assert 0 < refused < CORRECTIONS, "too little was tried"
    _tells(run, reference)
    _tells(run, before, known_at=known)


def _some_quarters(chance: Random) -> range:
    first = chance.randrange(QUARTERS - 1)
    return range(first, chance.choice((QUARTERS, chance.randint(first + 1, QUARTERS))))


def _stated(quarters: range) -> dict[str, Any]:
    ends = {"valid_to": iso(_begin(quarters.stop))} if quarters.stop < QUARTERS else {}
    return {"valid_from": iso(_begin(quarters.start)), **ends}


def _last_recorded(run: Running, documents: dict[str, str]) -> str:
    recorded = []
    for document in documents.values():
        versions = run.request("GET", f"/v1/documents/{document}/versions", "user:ana").json()["versions"]
        recorded += [parse_instant(each["recorded_at"]) for each in versions]
    return iso(max(recorded))


def _tells(run: Running, reference: Reference, **known: str) -> None:
    """The list, and a question that every document answers, at the first and last millisecond of each quarter."""
    for quarter in range(-1, QUARTERS):
        at = iso(Instant(_begin(quarter + quarter % 2) - quarter % 2))
        asked = {"as_of": at, **known}
        right = reference.in_force(quarter)
        listed = run.request("GET", "/v1/documents", "user:bo", params={**asked, "limit": 200}).json()["documents"]
        assert {(each["uri"], each["version"]) for each in listed} == right, at
        answer = run.retrieve("user:bo", "allowance in crowns", mode="lexical", top_k=50, **asked)
        cited = {(each["citation"]["uri"], each["citation"]["version"]) for each in answer["passages"]}
        assert cited == right, at
