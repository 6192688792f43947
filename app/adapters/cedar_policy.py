"""Cedar as the policy engine: the one place that knows how Cedar wants its questions put.

Cedar fails open where it can: a forbid that errors is skipped, a question that does not fit the schema is decided
all the same when no schema is given with it, and names are not checked for being names. What is done about each is
marked INVARIANT below, and tests/adapters/test_cedar_policy.py goes red without it.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from operator import attrgetter
from typing import Any

import cedarpy

from app.domain.access import DENIED, Collection, Kind, Party, PolicyId, PrincipalRef, Question, Ruling, kind_of
from app.domain.checks import CheckName, Rule
from app.domain.errors import Invalid, Unavailable
from app.ports import Bounded, Institution, Resource

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_CHUNK = 32
"""Resources in one call: Cedar holds the interpreter lock for a whole call, 0.1 to 0.15 ms a resource."""
_KEPT_RESOURCES = 4_096
"""Resources that are kept in Cedar's own form, about 12 kB each."""
_KEPT_SETS = 8
"""Compiled policy sets: today's, and those that replays and simulations compare with it."""
_MAX_POLICY_CHARS = 10_000
_MAX_BRACKETS = 40
_ANNOTATIONS = frozenset({"id", "check", "reason", "obligation"})
_CEDAR_ERRORS = (ValueError, TypeError, KeyError, RuntimeError)
"""What cedarpy raises, and what reading its answers can."""


def default_policies() -> str:
    """The policy set that Muniment starts with."""
    return _packaged("default.cedar")


class CedarPolicyEngine:
    """The `PolicyEngine` port. Safe to share between threads."""

    def __init__(self, *, chunk: int = _CHUNK) -> None:
        """`chunk` is how many resources are decided before other threads get a turn. Raises `Unavailable`."""
        try:
            self._schema = cedarpy.Schema.from_str(_packaged("schema.cedarschema"))
        except ValueError as error:
            raise Unavailable("The policy schema that is installed cannot be read.") from error
        self._chunk = chunk
        self._compiled = lru_cache(maxsize=_KEPT_SETS)(self._compile)
        self._described = lru_cache(maxsize=_KEPT_RESOURCES // chunk)(self._describe)

    def validate(self, policies: str) -> list[str]:
        return list(self._compiled(policies).faults)

    def rules(self, policies: str) -> tuple[Rule, ...]:
        return self._usable(policies).rules

    def decide(self, policies: str, question: Question, resources: Sequence[Resource]) -> list[Ruling]:
        compiled = self._usable(policies)
        try:
            asked = _Asked.of(question)
        except (*_CEDAR_ERRORS, Invalid) as error:
            logger.error("a question could not be put and is denied: %s", error)
            return [DENIED] * len(resources)
        failures: list[str] = []
        rulings: list[Ruling] = []
        for start in range(0, len(resources), self._chunk):
            rulings += self._decide_chunk(compiled, asked, resources[start : start + self._chunk], failures)
        if failures:
            logger.error("%d of %d decisions failed and deny; first: %s", len(failures), len(rulings), failures[0])
        return rulings

    def _usable(self, policies: str) -> "_Compiled":
        compiled = self._compiled(policies)
        if compiled.faults:
            raise Unavailable(
                "The policies in force cannot be used, so nothing is answered; "
                "The server's log says what is wrong with them."
            )
        return compiled

    def _compile(self, text: str) -> "_Compiled":
        faults = tuple(_reading_faults(text))
        if faults:
            return _Compiled(faults=faults)
        written = _written(text)
        faults = (*_annotation_faults(written), *self._schema_faults(text, written))
        if faults:
            return _Compiled(faults=faults)
        return _Compiled(
            policies=cedarpy.PolicySet.from_str(text, release_gil=True),
            written={policy.position: policy for policy in written},
            rules=tuple(policy.rule for policy in written),
        )

    def _schema_faults(self, text: str, written: Sequence["_Written"]) -> Iterator[str]:
        """What strict validation says: unknown names, wrong types, an optional attribute read unasked."""
        result = cedarpy.validate_policies(text, self._schema, release_gil=True)
        by_position = {policy.position: policy for policy in written}
        faults = set()
        for error in result.errors:
            policy = by_position.get(error.policy_id)
            called, number = (policy.called, policy.number) if policy else ("The text", 0)
            complaint = re.sub(r"^for policy `[^`]*`, ", "", error.error)
            faults.add((number, f"{called} does not fit the schema: {complaint}."))
        if not result.validation_passed and not faults:
            yield "The policies do not fit the schema."
        yield from (sentence for _, sentence in sorted(faults))

    def _decide_chunk(
        self, compiled: "_Compiled", asked: "_Asked", resources: Sequence[Resource], failures: list[str]
    ) -> list[Ruling]:
        """One ruling a resource. One that Cedar cannot even be told of is denied, and takes no other with it."""
        try:
            results = self._results(compiled, asked, resources)
            return [compiled.ruling(result, str(n), failures) for n, result in enumerate(results)]
        except _CEDAR_ERRORS as error:
            if len(resources) == 1:
                failures.append(str(error))
                return [DENIED]
        middle = len(resources) // 2
        return [
            *self._decide_chunk(compiled, asked, resources[:middle], failures),
            *self._decide_chunk(compiled, asked, resources[middle:], failures),
        ]

    def _describe(self, resources: tuple[Resource, ...]) -> cedarpy.Entities:
        """The resources as Cedar's entities: half of what a decision costs, and the same for every principal."""
        described = json.dumps([*_resource_entities(resources)])
        return cedarpy.Entities.from_json_str(described, self._schema, release_gil=True)

    def _results(
        self, compiled: "_Compiled", asked: "_Asked", resources: Sequence[Resource]
    ) -> list[cedarpy.AuthzResult]:
        """INVARIANT: the schema is given with the entities and with the questions; each alone lets misfits through."""
        entities = self._described(tuple(resources)).with_added_json_str(asked.entities, self._schema)
        requests = [
            {**asked.request, "resource": _resource_uid(resource, n), "correlation_id": str(n)}
            for n, resource in enumerate(resources)
        ]
        results = cedarpy.is_authorized_batch(requests, compiled.policies, entities, self._schema)
        if len(results) != len(resources):
            raise Unavailable("The policy engine did not decide everything that it was asked.")
        return results


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A policy set ready to decide, or what is wrong with it."""

    faults: tuple[str, ...] = ()
    policies: cedarpy.PolicySet = field(default_factory=lambda: cedarpy.PolicySet.from_str(""))
    written: Mapping[str, "_Written"] = field(default_factory=dict)
    """INVARIANT: Cedar's answers name policies by these positions in the text; no position goes further than here."""
    rules: tuple[Rule, ...] = ()

    def ruling(self, result: cedarpy.AuthzResult, asked_as: str, failures: list[str]) -> Ruling:
        """What an answer of Cedar's comes to; its errors are added to `failures`.

        INVARIANT: allowed only by an Allow to this very question that no policy erred in and that a policy permits.
        """
        if result.diagnostics.errors or result.decision is cedarpy.Decision.NoDecision:
            failures.append("; ".join(result.diagnostics.errors))
            return DENIED
        determining = [self.written[position] for position in result.diagnostics.reasons]
        determining.sort(key=attrgetter("number"))
        policies = tuple(PolicyId(policy.name) for policy in determining)
        if not result.allowed:
            return Ruling(allowed=False, policies=policies)
        if result.correlation_id != asked_as or not policies:
            failures.append("an answer that belongs to no question")
            return DENIED
        owed = dict.fromkeys(obligation for policy in determining for obligation in policy.obligations)
        return Ruling(allowed=True, policies=policies, obligations=tuple(owed))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question in Cedar's terms: all of a request but its resource, and the entities that it speaks of."""

    request: Json
    entities: str
    """The subject and the actor, as Cedar's JSON."""

    @classmethod
    def of(cls, question: Question) -> "_Asked":
        subject, actor = question.principal.subject, question.principal.actor
        context: Json = {"interface": question.interface, "proven": question.principal.proof == "proven"}
        if question.purpose is not None:
            context["purpose"] = question.purpose
        if actor is not None:
            context["actor"] = {"__entity": _principal_uid(actor)}
        return cls(
            request={
                "principal": _principal_uid(subject),
                "action": _uid("Action", question.action),
                "context": json.dumps(context),
            },
            entities=json.dumps([_party_entity(party) for party in (subject, actor) if party is not None]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """One policy as its author wrote it."""

    number: int
    """From 1, in the text's order."""
    position: str
    """Cedar's name for it."""
    annotations: Mapping[str, str]
    permits: bool
    template: bool

    @property
    def name(self) -> str:
        return self.annotations.get("id", "")

    @property
    def called(self) -> str:
        """How a sentence about it begins."""
        return f"Policy {self.name!r}" if self.name else f"Policy number {self.number}"

    @property
    def obligations(self) -> tuple[str, ...]:
        return tuple(filter(None, (word.strip() for word in self.annotations.get("obligation", "").split(","))))

    @property
    def rule(self) -> Rule:
        check = self.annotations.get("check")
        return Rule(
            id=PolicyId(self.name),
            check=None if check is None else CheckName(check),
            reason=self.annotations["reason"],
            permits=self.permits,
        )


def _written(text: str) -> list[_Written]:
    """Every policy and template, in the text's order; the text is one that `_reading_faults` passes."""
    parsed: Json = json.loads(cedarpy.policies_to_json_str(text))
    bodies = [(position, body, False) for position, body in parsed["staticPolicies"].items()]
    bodies += [(position, body, True) for position, body in parsed["templates"].items()]
    bodies.sort(key=lambda entry: int(entry[0].removeprefix("policy")))
    return [
        _Written(
            number=number,
            position=position,
            annotations={key: value or "" for key, value in body.get("annotations", {}).items()},
            permits=body["effect"] == "permit",
            template=template,
        )
        for number, (position, body, template) in enumerate(bodies, start=1)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The text up to a semicolon, or what is left after the last: one policy, if it is Cedar at all."""

    line: int
    """Where its first word is."""
    text: str
    size: int
    """In characters, comments left out."""
    depth: int
    """How far brackets nest."""


_PUNCTUATION = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|[()\[\]{};]|\Z', re.DOTALL)
"""Strings and comments whole, so that what stands in them counts for nothing."""
_BLANK = re.compile(r"(?:\s|//[^\n]*)*")


def _pieces(text: str) -> Iterator[_Piece]:
    start = comments = depth = deepest = 0
    for token in _PUNCTUATION.finditer(text):
        mark = token.group()
        if mark in (";", ""):
            blank = _BLANK.match(text, start)
            line = text.count("\n", 0, blank.end() if blank else start) + 1
            size = token.end() - start - comments
            yield _Piece(line=line, text=text[start : token.end()], size=size, depth=deepest)
            start, comments, depth, deepest = token.end(), 0, 0, 0
        elif mark in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in ")]}":
            depth -= 1
        elif mark.startswith("//"):
            comments += len(mark)


def _reading_faults(text: str) -> Iterator[str]:
    """What keeps Cedar from reading the text, policy by policy, since Cedar does not say where.

    INVARIANT: Cedar's parser recurses without a bound and a stack overflow kills the process (at about 25,000
    characters of one expression, or 1,000 brackets), so what could come near is never given to it.
    """
    for piece in _pieces(text):
        policy = f"The policy that starts on line {piece.line}"
        if piece.size > _MAX_POLICY_CHARS:
            yield f"{policy} is longer than {_MAX_POLICY_CHARS} characters: write it as several."
        elif piece.depth > _MAX_BRACKETS:
            yield f"{policy} nests more than {_MAX_BRACKETS} brackets."
        else:
            try:
                cedarpy.PolicySet.from_str(piece.text)
                json.loads(cedarpy.policies_to_json_str(piece.text))
            except RecursionError:
                yield f"{policy} chains too many operators: write it as several."
            except ValueError as error:
                yield f"{policy} cannot be read: {error}."


def _annotation_faults(written: Sequence[_Written]) -> Iterator[str]:
    """INVARIANT: Cedar reads nothing into annotations, so what a slip in one would lose is looked for here."""
    for policy in written:
        yield from (f"{policy.called} {fault}." for fault in _faults_of(policy))
    for name, times in Counter(policy.name for policy in written if policy.name).items():
        if times > 1:
            yield f"{times} policies are called {name!r}: an @id names one."
    if not any(policy.permits for policy in written):
        yield "No policy permits anything, so nothing would ever be answered."


def _faults_of(policy: _Written) -> Iterator[str]:
    notes = policy.annotations
    if policy.template:
        yield "is a template, which nothing here fills in: write it for one principal and resource"
    if not policy.name:
        yield "has no @id"
    if not notes.get("reason"):
        yield "has no @reason: say in one plain sentence why it is there"
    if "check" in notes and notes["check"] not in tuple(CheckName):
        yield f"names the check {notes['check']!r}, which is none: the checks are {', '.join(CheckName)}"
    if "obligation" in notes and not policy.obligations:
        yield "has an @obligation that says nothing"
    if "obligation" in notes and not policy.permits:
        yield "forbids, so its @obligation would never be due: obligations belong to permits"
    for unknown in sorted(notes.keys() - _ANNOTATIONS):
        yield f"is annotated with @{unknown}, which means nothing here"


def _resource_entities(resources: Sequence[Resource]) -> Iterable[Json]:
    """The resources and their collections, each collection once.

    Two states of one collection cannot be told of together: Cedar refuses them, and each is then decided alone.
    """
    collections = {_collection_of(resource): None for resource in resources}
    yield from (_collection_entity(collection) for collection in collections if collection is not None)
    for n, resource in enumerate(resources):
        if isinstance(resource, Bounded):
            yield _boundary_entity(resource, n)
        elif not isinstance(resource, Collection):
            yield _entity(_resource_uid(resource, n))


def _collection_of(resource: Resource) -> Collection | None:
    if isinstance(resource, Bounded):
        return resource.collection
    return resource if isinstance(resource, Collection) else None


def _resource_uid(resource: Resource, n: int) -> Json:
    """A boundary goes by its place in the chunk: it has no name, and rows stay inside."""
    if isinstance(resource, Bounded):
        return _uid("Boundary", str(n))
    if isinstance(resource, Collection):
        return _uid("Collection", resource.name)
    if isinstance(resource, Institution):
        return _uid("Institution", "all")
    raise TypeError("what is to be decided about is no resource")


def _party_entity(party: Party) -> Json:
    """INVARIANT: besides its groups, a principal is in one of its own, by which readers, denied and owners name it.

    So nobody may be in another principal's: whatever the directory says, the rest have to be groups.
    """
    profile = party.profile
    if any(kind_of(group) is not Kind.GROUP for group in party.groups):
        raise ValueError("a principal is said to be in something that is no group")
    attributes: Json = {
        "active": profile.active,
        "clearance": int(profile.clearance),
        "categories": [*profile.categories],
        "jurisdictions": [*profile.jurisdictions],
        "purposes": [*profile.purposes],
    }
    if party.kind is Kind.ASSISTANT:
        attributes["collections"] = [_uid("Collection", name) for name in profile.collections]
    return _entity(_principal_uid(party), attributes, parents=_groups({party.ref, *party.groups}))


def _collection_entity(collection: Collection) -> Json:
    attributes = {"owners": _groups(collection.owners), "discoverable": collection.discoverable}
    return _entity(_uid("Collection", collection.name), attributes)


def _boundary_entity(bounded: Bounded, n: int) -> Json:
    boundary = bounded.boundary
    if boundary.collection != bounded.collection.name:
        raise ValueError("a boundary was given with another collection than its own")
    home = _uid("Collection", boundary.collection)
    attributes = {
        "collection": home,
        "level": int(boundary.label.level),
        "categories": [*boundary.label.categories],
        "readers": _groups(boundary.readers),
        "denied": _groups(boundary.denied),
        "jurisdictions": [*boundary.jurisdictions],
        "consents": [*boundary.consents],
        "purposes": [*boundary.purposes],
    }
    return _entity(_uid("Boundary", str(n)), attributes, parents=[home])


def _groups(refs: Iterable[PrincipalRef]) -> list[Json]:
    return [_uid("Group", ref) for ref in refs]


def _principal_uid(party: Party) -> Json:
    return _uid(party.kind.capitalize(), party.ref)


def _entity(uid: Json, attributes: Json | None = None, *, parents: Sequence[Json] = ()) -> Json:
    return {"uid": uid, "attrs": attributes or {}, "parents": [*parents]}


def _uid(type_name: str, name: str) -> Json:
    """Never written as Cedar text, so nothing in a name needs escaping."""
    return {"type": f"Muniment::{type_name}", "id": name}


def _packaged(name: str) -> str:
    return (files("app") / "policies" / name).read_text(encoding="utf-8")
