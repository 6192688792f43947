"""Cedar as the policy engine: the one place that knows how Cedar wants its questions put.

Cedar fails open where it can: a forbid that errors is skipped, a question that does not fit the schema is decided
all the same when no schema is given with it, and names are not checked for being names. What is done about each is
marked INVARIANT below, and tests/adapters/test_cedar_policy.py goes red without it.
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from operator import attrgetter
from typing import TypeVar

import cedarpy

from app.adapters.cedar_analysis import examined
from app.adapters.cedar_entities import Asked, resource_entities, resource_uid
from app.adapters.cedar_narrowing import Narrowing, narrowing
from app.adapters.cedar_text import (
    Written,
    annotation_faults,
    named_in,
    obligation_faults,
    reading_faults,
    written_in,
)
from app.domain.access import DENIED, PolicyId, Question, Ruling
from app.domain.checks import Rule
from app.domain.errors import Invalid, Unavailable
from app.domain.policies import Examination
from app.ports import Bounded, Named, Resource, Thing

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK = 32
"""Resources in one call: Cedar holds the interpreter lock for a whole call, 0.1 to 0.15 ms a resource."""
_NARROWED_AT_ONCE = 512
"""Boundaries that are looked at before others get a turn: about 2 ms."""
_TURN_S = 0.001
"""What others get between two pieces: with it, a parallel retrieval was delayed by 25 ms instead of 85."""
_KEPT_RESOURCES = 4_096
"""Resources that are kept in Cedar's own form, about 12 kB each."""
_KEPT_SETS = 8
"""Compiled policy sets: today's, and those that replays and simulations compare with it."""
_CEDAR_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RuntimeError)
"""What cedarpy raises, and what telling it of misfits and reading its answers can."""


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
        compiled = self._compiled(policies)
        return [*compiled.faults, *obligation_faults([*compiled.written.values()])]

    def examine(self, policies: str, *, in_force: str | None) -> Examination:
        self._usable(policies)
        before = in_force if in_force is not None and not self._compiled(in_force).faults else ""
        return examined(policies, before, self._schema)

    def rules(self, policies: str) -> tuple[Rule, ...]:
        return self._usable(policies).rules

    def named(self, policies: str) -> Named:
        return self._usable(policies).named

    def decide(self, policies: str, question: Question, resources: Sequence[Resource]) -> list[Ruling]:
        compiled = self._usable(policies)
        asked = _put(question)
        return self._decided(compiled, asked, resources) if asked else [DENIED] * len(resources)

    def reachable(self, policies: str, question: Question, resources: Sequence[Bounded]) -> list[Ruling]:
        """INVARIANT: whatever is allowed, Cedar itself allowed under the whole set; narrowing only denies."""
        compiled = self._usable(policies)
        if not resources:
            return []
        asked = _put(question)
        narrowed = [self._narrowing(compiled, each) for each in asked]
        left: list[int] = []
        for start in range(0, len(resources) if asked else 0, _NARROWED_AT_ONCE):
            _let_others_run(start)
            some = range(start, min(start + _NARROWED_AT_ONCE, len(resources)))
            left += [n for n in some if all(each is None or each.may_allow(resources[n]) for each in narrowed)]
        rulings = [DENIED] * len(resources)
        for n, ruling in zip(left, self._decided(compiled, asked, [resources[n] for n in left]), strict=True):
            if ruling.allowed:
                rulings[n] = ruling
        return rulings

    def _narrowing(self, compiled: "_Compiled", asked: Asked) -> Narrowing | None:
        """None where Cedar would not say: then every boundary is its to decide."""
        try:
            return narrowing(asked, compiled.policies, self._schema, count=len(compiled.written))
        except _CEDAR_ERRORS as error:
            logger.warning("a question was not narrowed: %s", error)
            return None

    def _decided(self, compiled: "_Compiled", asked: Sequence[Asked], resources: Sequence[Resource]) -> list[Ruling]:
        failures: list[str] = []
        rulings: list[Ruling] = []
        for start in range(0, len(resources), self._chunk):
            _let_others_run(start)
            some = resources[start : start + self._chunk]
            of_each = [self._decide_chunk(compiled, each, some, failures) for each in asked]
            rulings += [_together(ruled) for ruled in zip(*of_each, strict=True)]
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
        faults = tuple(reading_faults(text))
        if faults:
            return _Compiled(faults=faults)
        written = written_in(text)
        faults = (*annotation_faults(written), *self._schema_faults(text, written))
        if faults:
            return _Compiled(faults=faults)
        return _Compiled(
            policies=cedarpy.PolicySet.from_str(text, release_gil=True),
            written={policy.position: policy for policy in written},
            rules=tuple(policy.rule for policy in written),
            named=named_in(text),
        )

    def _schema_faults(self, text: str, written: Sequence["Written"]) -> Iterator[str]:
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
        self, compiled: "_Compiled", asked: "Asked", resources: Sequence[Resource], failures: list[str]
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
        described = json.dumps([*resource_entities(resources)])
        return cedarpy.Entities.from_json_str(described, self._schema, release_gil=True)

    def _results(
        self, compiled: "_Compiled", asked: "Asked", resources: Sequence[Resource]
    ) -> list[cedarpy.AuthzResult]:
        """INVARIANT: the schema is given with the entities and with the questions; each alone lets misfits through."""
        things = any(isinstance(resource, Thing) for resource in resources)  # seldom the same twice: not worth a place
        describe = self._describe if things else self._described
        entities = describe(tuple(resources)).with_added_json_str(asked.entities, self._schema)
        requests = [
            {**asked.request, "resource": resource_uid(resource, n), "correlation_id": str(n)}
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
    written: Mapping[str, "Written"] = field(default_factory=dict)
    """INVARIANT: Cedar's answers name policies by these positions in the text; no position goes further than here."""
    rules: tuple[Rule, ...] = ()
    named: Named = field(default_factory=Named)

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
            return Ruling(allowed=False, policies=policies, escalate_to=_waivers(determining))
        if result.correlation_id != asked_as or not policies:
            failures.append("an answer that belongs to no question")
            return DENIED
        owed = dict.fromkeys(obligation for policy in determining for obligation in policy.obligations)
        return Ruling(allowed=True, policies=policies, obligations=tuple(owed))


def _put(question: Question) -> list[Asked]:
    """The question in Cedar's terms; empty if it cannot be put, which is a denial."""
    try:
        return Asked.of(question)
    except (*_CEDAR_ERRORS, Invalid) as error:
        logger.error("a question could not be put and is denied: %s", error)
        return []


def _let_others_run(decided: int) -> None:
    """Between two pieces, leave the interpreter lock to others for a while: to hand it over and take it right back lets
    a request that needs it several times wait for a piece each time."""
    if decided:
        time.sleep(_TURN_S)


def _waivers(determining: Sequence[Written]) -> tuple[str, ...]:
    """Who may waive all of these forbids; nobody, if one of them names nobody."""
    named = [policy.annotations.get("escalate", "") for policy in determining]
    return tuple(dict.fromkeys(named)) if all(named) else ()


def _together(rulings: Sequence[Ruling]) -> Ruling:
    """What comes of the rulings through each actor of a chain: allowed if all of them allow."""
    if len(rulings) == 1:
        return rulings[0]
    denied = [ruling for ruling in rulings if not ruling.allowed]
    telling = denied or rulings
    waivable = all(ruling.escalate_to for ruling in denied)
    return Ruling(
        allowed=not denied,
        policies=_each_once(ruling.policies for ruling in telling),
        obligations=() if denied else _each_once(ruling.obligations for ruling in rulings),
        escalate_to=_each_once(ruling.escalate_to for ruling in denied) if waivable else (),
    )


def _each_once(several: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(each for some in several for each in some))


def _packaged(name: str) -> str:
    return (files("app") / "policies" / name).read_text(encoding="utf-8")
