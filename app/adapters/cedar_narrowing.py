"""Which boundaries a question could be allowed at all, told without asking Cedar of each.

Cedar evaluates the policies once with the resource left unknown; what remains of each is compiled into a function of
a boundary. Only what is total and plain is compiled: a policy with anything else in it counts as one that may apply,
if it permits, and as one that may not, if it forbids. So narrowing passes over nothing that Cedar would allow, and
what it leaves is decided by Cedar itself.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cedarpy

from app.adapters.cedar_entities import Asked, Json
from app.ports import Bounded

Reading = Callable[[Bounded], Any]
Test = Callable[[Bounded], bool]

_NAMESPACE: Final = "Muniment::"
_EMPTY: Final = "Set<>"


class _NotCompiled(Exception):
    """An expression that is left to Cedar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What remains of the policies when a question is put about a boundary that is not known yet."""

    permits: tuple[Test, ...]
    forbids: tuple[Test, ...]

    def may_allow(self, bounded: Bounded) -> bool:
        """False only where Cedar would deny: nothing permits it, or something forbids it."""
        try:
            return any(permit(bounded) for permit in self.permits) and not any(
                forbid(bounded) for forbid in self.forbids
            )
        except (TypeError, AttributeError):  # it is not what a boundary should be: for Cedar to say
            return True


def narrowing(asked: Asked, policies: cedarpy.PolicySet, schema: cedarpy.Schema, *, count: int) -> Narrowing | None:
    """How far the question narrows before any boundary is looked at; None if Cedar has no answer to that.

    `count` is how many policies there are: INVARIANT: an answer that lacks one of them is none.
    """
    parties = cedarpy.Entities.from_json_str(asked.entities, schema)
    request = {**asked.request, **{part: _text(asked.request[part]) for part in ("principal", "action")}}
    remaining = cedarpy.is_authorized_partial(request, policies, parties, schema).residuals
    if len(remaining) != count:
        return None
    compiling = _Compiling(asked.memberships)
    permits: list[Test] = []
    forbids: list[Test] = []
    for policy in remaining.values():
        permitting = policy["effect"] == "permit"
        try:
            test = compiling.test(policy)
        except _NotCompiled:
            test = _Term.known("Bool", permitting)
        if test.constant is not False:
            (permits if permitting else forbids).append(test.read)
    return Narrowing(permits=tuple(permits), forbids=tuple(forbids))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """A compiled expression: its type in the schema's words, and how it is read off a boundary."""

    kind: str
    read: Reading
    constant: Any = None
    """Its value if that is the same for every boundary; else None, which is no value of Cedar's."""

    @classmethod
    def known(cls, kind: str, value: Any) -> "_Term":
        return cls(kind=kind, read=lambda _: value, constant=value)


_BOUNDARY: Final[Mapping[str, _Term]] = {
    "collection": _Term(kind="Collection", read=lambda it: it.collection.name),
    "level": _Term(kind="Long", read=lambda it: it.boundary.label.level),
    "categories": _Term(kind="Set<String>", read=lambda it: it.boundary.label.categories),
    "readers": _Term(kind="Set<Group>", read=lambda it: it.boundary.readers),
    "denied": _Term(kind="Set<Group>", read=lambda it: it.boundary.denied),
    "jurisdictions": _Term(kind="Set<String>", read=lambda it: it.boundary.jurisdictions),
    "consents": _Term(kind="Set<String>", read=lambda it: it.boundary.consents),
    "purposes": _Term(kind="Set<String>", read=lambda it: it.boundary.purposes),
}
_COLLECTION: Final[Mapping[str, _Term]] = {
    "owners": _Term(kind="Set<Group>", read=lambda it: it.collection.owners),
    "discoverable": _Term(kind="Bool", read=lambda it: it.collection.discoverable),
}
_ATTRIBUTES: Final = {"Boundary": _BOUNDARY, "Collection": _COLLECTION}
"""What every boundary, and every boundary's collection, has: as in `cedar_entities`, and none of it optional."""


class _Compiling:
    """Expressions of Cedar's JSON, in which only the resource is left unknown, to terms. Raises `_NotCompiled`."""

    def __init__(self, memberships: Mapping[tuple[str, str], frozenset[str]]) -> None:
        """`memberships` are the groups of each party, by its type and name."""
        self._memberships = memberships

    def test(self, policy: Json) -> _Term:
        """Whether the policy applies."""
        if any(policy[scope] != {"op": "All"} for scope in ("principal", "action", "resource")):
            raise _NotCompiled
        whole = _Term.known("Bool", True)
        for condition in policy["conditions"]:
            met = self._bool(condition["body"])
            whole = _both(whole, met if condition["kind"] == "when" else _negated(met))
        return whole

    def _term(self, expression: Json) -> _Term:
        ((operator, operands),) = expression.items()
        match operator:
            case "Value":
                return _constant(operands)
            case "unknown":
                return _Term(kind="Boundary", read=lambda it: it)
            case "Set":
                return self._set(operands)
            case ".":
                return self._attribute(operands)
            case "has":
                self._attribute(operands)
                return _Term.known("Bool", True)
            case "is" if "in" not in operands and self._term(operands["left"]).kind == "Boundary":
                return _Term.known("Bool", operands["entity_type"] == f"{_NAMESPACE}Boundary")
            case "if-then-else":
                return self._choice(operands)
            case "&&" | "||" | "!":
                return self._connected(operator, operands)
            case "isEmpty":
                several = self._set_of(operands["arg"]).read
                return _Term(kind="Bool", read=lambda it: not several(it))
            case "in":
                return self._among(self._term(operands["left"]), operands["left"], self._term(operands["right"]))
            case "==" | "!=" | "<" | "<=" | ">" | ">=" | "contains" | "containsAll" | "containsAny":
                return _compared(operator, self._term(operands["left"]), self._term(operands["right"]))
        raise _NotCompiled

    def _bool(self, expression: Json) -> _Term:
        term = self._term(expression)
        if term.kind != "Bool":
            raise _NotCompiled
        return term

    def _set_of(self, expression: Json) -> _Term:
        term = self._term(expression)
        if not term.kind.startswith("Set<"):
            raise _NotCompiled
        return term

    def _set(self, elements: Sequence[Json]) -> _Term:
        return _set_of_constants([self._term(each) for each in elements])

    def _attribute(self, operands: Json) -> _Term:
        of, attribute = self._term(operands["left"]), operands["attr"]
        if attribute not in _ATTRIBUTES.get(of.kind, {}) or of.constant is not None:
            raise _NotCompiled
        return _ATTRIBUTES[of.kind][attribute]

    def _choice(self, operands: Json) -> _Term:
        asked, then, otherwise = (self._bool(operands[part]) for part in ("if", "then", "else"))
        return _either(_both(asked, then), _both(_negated(asked), otherwise))

    def _connected(self, operator: str, operands: Json) -> _Term:
        if operator == "!":
            return _negated(self._bool(operands["arg"]))
        left = self._bool(operands["left"])
        if left.constant is (operator == "||"):
            return left
        return (_both if operator == "&&" else _either)(left, self._bool(operands["right"]))

    def _among(self, one: _Term, expression: Json, several: _Term) -> _Term:
        """`in`: of a party, the groups that it is in; of a boundary, its collection; a collection is in itself."""
        if one.kind in ("User", "Assistant") and one.constant is not None and several.kind in ("Group", "Set<Group>"):
            groups = self._memberships.get((one.kind, one.constant))
            if groups is None:
                raise _NotCompiled
            read = several.read
            if several.kind == "Group":
                return _Term(kind="Bool", read=lambda it: read(it) in groups)
            return _Term(kind="Bool", read=lambda it: not groups.isdisjoint(read(it)))
        if one.kind == "Boundary" and several.kind in ("Collection", "Set<Collection>", _EMPTY):
            one = _BOUNDARY["collection"]
        if one.kind == "Collection" and several.kind == "Collection":
            return _compared("==", one, several)
        if one.kind == "Collection" and several.kind in ("Set<Collection>", _EMPTY):
            return _compared("contains", several, one)
        raise _NotCompiled


def _constant(value: Any) -> _Term:
    if isinstance(value, bool):
        return _Term.known("Bool", value)
    if isinstance(value, int):
        return _Term.known("Long", value)
    if isinstance(value, str):
        return _Term.known("String", value)
    if isinstance(value, list):
        return _set_of_constants([_constant(each) for each in value])
    if isinstance(value, dict) and value.keys() == {"__entity"}:
        kind = value["__entity"]["type"]
        if kind.startswith(_NAMESPACE) and kind != f"{_NAMESPACE}Boundary":
            return _Term.known(kind.removeprefix(_NAMESPACE), value["__entity"]["id"])
    raise _NotCompiled


def _set_of_constants(elements: Iterable[_Term]) -> _Term:
    several = list(elements)
    kinds = {each.kind for each in several}
    if len(kinds) > 1 or any(each.constant is None for each in several):
        raise _NotCompiled
    return _Term.known(f"Set<{''.join(kinds)}>", frozenset(each.constant for each in several))


def _compared(operator: str, left: _Term, right: _Term) -> _Term:
    """INVARIANT: of types that Cedar would find to be the same; Python would compare any two."""
    one, other = left.read, right.read
    sets = left.kind.startswith("Set<") and (left.kind == right.kind or _EMPTY in (left.kind, right.kind))
    tests: dict[str, Test] = {}
    if left.kind == right.kind and left.kind != "Boundary":
        tests |= {"==": lambda it: one(it) == other(it), "!=": lambda it: one(it) != other(it)}
    if left.kind == right.kind == "Long":
        tests |= {
            "<": lambda it: one(it) < other(it),
            "<=": lambda it: one(it) <= other(it),
            ">": lambda it: one(it) > other(it),
            ">=": lambda it: one(it) >= other(it),
        }
    if left.kind in (f"Set<{right.kind}>", _EMPTY):
        tests["contains"] = lambda it: other(it) in one(it)
    if sets and right.kind.startswith("Set<"):
        tests |= {
            "containsAll": lambda it: one(it) >= other(it),
            "containsAny": lambda it: not one(it).isdisjoint(other(it)),
        }
    if operator not in tests:
        raise _NotCompiled
    return _Term(kind="Bool", read=tests[operator])


def _negated(term: _Term) -> _Term:
    if term.constant is not None:
        return _Term.known("Bool", not term.constant)
    read = term.read
    return _Term(kind="Bool", read=lambda it: not read(it))


def _both(left: _Term, right: _Term) -> _Term:
    if left.constant is not None:
        return right if left.constant else left
    if right.constant is True:
        return left
    one, other = left.read, right.read
    return _Term(kind="Bool", read=lambda it: one(it) and other(it))


def _either(left: _Term, right: _Term) -> _Term:
    if left.constant is not None:
        return left if left.constant else right
    if right.constant is False:
        return left
    one, other = left.read, right.read
    return _Term(kind="Bool", read=lambda it: one(it) or other(it))


def _text(uid: Json) -> str:
    """A name as Cedar text, which this one question wants. A name that it cannot spell is not narrowed for, and one
    that it misread would only narrow: what is left is asked of Cedar under its own name."""
    return f"{uid['type']}::{json.dumps(uid['id'], ensure_ascii=False)}"
