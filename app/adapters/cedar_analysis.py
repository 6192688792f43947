"""What the author of a valid policy set may not have meant: rules that never act, that act twice, that can fail, and
guards that are gone.

Each policy is taken apart into its scope and the conditions that must all hold (`_Reading`). What is said of two
policies is certain: one covers another if its scope is as wide and its conditions are among the other's. What is not
seen this way is not said: silence proves nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import cedarpy
from cedarpy import pst

from app.adapters.cedar_text import Written, written_in
from app.domain.access import PolicyId, PrincipalRef
from app.domain.labels import Level
from app.domain.policies import Examination, Mention, Remark, RemarkCode

_LONGEST, _LEAST = 2**63 - 1, -(2**63)
_BETWEEN = {"level": (min(Level), max(Level)), "clearance": (min(Level), max(Level))}
"""What numbers there can be, by the attribute that holds them."""
_CAN_OVERFLOW = frozenset({"add", "sub", "mul", "neg", "offset", "duration_since", "to_date"})
_PRINCIPALS = frozenset({"User", "Group", "Assistant"})
_MISFIT = " when { context.nonesuch };"
"""Fits no schema. Cedar's validator passes it over only where what stands before it can never hold."""


def examined(text: str, in_force: str, schema: cedarpy.Schema) -> Examination:
    """What there is to say of a text that has no faults, in its order; then the guards of `in_force` that it lacks."""
    written = written_in(text)
    readings, before = _readings(written), _readings(written_in(in_force))
    known = {mention.ref for mention in _mentions(before)}
    return Examination(
        remarks=(
            *_unread(written, readings),
            *(remark for reading in readings for remark in _alone(reading, schema)),
            *_beside_each_other(readings),
            *_lost_guards(readings, before),
        ),
        mentions=tuple(mention for mention in _mentions(readings) if mention.ref not in known),
    )


# ---- A policy taken apart -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A policy as scope and conditions."""

    written: Written
    policy: pst.Template
    actions: frozenset[str]
    conditions: frozenset[pst.Expr]
    """All must hold. Normal forms: what is equal here says the same."""

    @property
    def name(self) -> PolicyId:
        return PolicyId(self.written.name)

    @property
    def permits(self) -> bool:
        return self.written.permits

    def covers(self, other: "_Reading") -> bool:
        """Whether it applies wherever the other does."""
        return (
            self.actions >= other.actions
            and self.conditions <= other.conditions
            and _as_wide(self.policy.principal, other.policy.principal)
            and _as_wide(self.policy.resource, other.policy.resource)
        )

    def remark(self, code: RemarkCode, sentence: str) -> Remark:
        return Remark(code=code, policy=self.name, line=self.written.line, sentence=sentence)


def _readings(written: Iterable[Written]) -> list[_Reading]:
    return [reading for policy in written if (reading := _read(policy)) is not None]


def _read(written: Written) -> _Reading | None:
    """None for one that Cedar does not take apart: it nests too deeply."""
    try:
        (policy,) = cedarpy.policies_to_pst(written.cedar).static_policies.values()
    except ValueError:
        return None
    clauses = [
        clause.expr if isinstance(clause, pst.When) else pst.UnaryOp("not", clause.expr) for clause in policy.clauses
    ]
    return _Reading(
        written=written,
        policy=policy,
        actions=_actions(policy.action),
        conditions=frozenset(condition for clause in clauses for condition in _conjuncts(_normal(clause))),
    )


def _as_wide(one: pst.PrincipalOrResourceConstraint, other: pst.PrincipalOrResourceConstraint) -> bool:
    if one == other or isinstance(one, pst.ScopeAny):
        return True
    if isinstance(one, pst.ScopeIs):
        if isinstance(other, pst.ScopeEq) and isinstance(other.entity, pst.EntityUid):
            return other.entity.type == one.entity_type
        return isinstance(other, pst.ScopeIsIn) and other.entity_type == one.entity_type
    if isinstance(one, pst.ScopeIn):  # everything is in itself
        return isinstance(other, pst.ScopeEq | pst.ScopeIsIn) and other.entity == one.entity
    return False


def _actions(scope: pst.ActionConstraint) -> frozenset[str]:
    groups = _action_groups()
    if isinstance(scope, pst.ScopeAny):
        return frozenset().union(*groups.values())
    named = (scope.entity,) if isinstance(scope, pst.ActionEq) else scope.entities
    return frozenset().union(*(groups.get(each.id, frozenset({each.id})) for each in named))


@cache
def _action_groups() -> Mapping[str, frozenset[str]]:
    """The actions that can be asked, by the name of each and of each group, as the schema has them."""
    schema = re.sub(r"//.*", "", (files("app") / "policies" / "schema.cedarschema").read_text(encoding="utf-8"))
    found: dict[str, set[str]] = {}
    for names, groups in re.findall(r"\baction\s+([\w\s,]+?)(?:\s+in\s+\[([^\]]*)\])?\s+appliesTo", schema):
        for name in re.findall(r"\w+", names):
            for called in (name, *re.findall(r"\w+", groups)):
                found.setdefault(called, set()).add(name)
    return {called: frozenset(names) for called, names in found.items()}


_MIRRORED: Mapping[str, pst.BinaryOpName] = {"greater": "less", "greater_eq": "less_eq"}
_OPPOSITE: Mapping[str, pst.BinaryOpName] = {"less": "less_eq", "less_eq": "less"}


def _normal(expr: pst.Expr) -> pst.Expr:
    """One form for what is written in several: only `<`, `<=` and `==`, `!` as far in as it goes, constants worked
    out."""
    if isinstance(expr, pst.UnaryOp):
        arg = _normal(expr.arg)
        return _negated(arg) if expr.op == "not" else pst.UnaryOp(expr.op, arg)
    if not isinstance(expr, pst.BinaryOp):
        return expr
    left, right = _normal(expr.left), _normal(expr.right)
    if expr.op in _MIRRORED:
        return _compared(_MIRRORED[expr.op], right, left)
    if expr.op in _OPPOSITE:
        return _compared(expr.op, left, right)
    if expr.op in ("eq", "not_eq"):
        equal = pst.BinaryOp("eq", *sorted((left, right), key=repr))
        return equal if expr.op == "eq" else pst.UnaryOp("not", equal)
    return pst.BinaryOp(expr.op, left, right)


def _negated(expr: pst.Expr) -> pst.Expr:
    if isinstance(expr, pst.BoolLit):
        return pst.BoolLit(not expr.value)
    if isinstance(expr, pst.UnaryOp) and expr.op == "not":
        return expr.arg
    if isinstance(expr, pst.BinaryOp) and expr.op in _OPPOSITE:
        return _compared(_OPPOSITE[expr.op], expr.right, expr.left)
    if isinstance(expr, pst.BinaryOp) and expr.op in ("and", "or"):
        return pst.BinaryOp("or" if expr.op == "and" else "and", _negated(expr.left), _negated(expr.right))
    return pst.UnaryOp("not", expr)


def _compared(op: pst.BinaryOpName, left: pst.Expr, right: pst.Expr) -> pst.Expr:
    if isinstance(left, pst.LongLit) and isinstance(right, pst.LongLit):
        return pst.BoolLit(left.value < right.value if op == "less" else left.value <= right.value)
    return pst.BinaryOp(op, left, right)


def _conjuncts(expr: pst.Expr) -> Iterator[pst.Expr]:
    if isinstance(expr, pst.BinaryOp) and expr.op == "and":
        yield from _conjuncts(expr.left)
        yield from _conjuncts(expr.right)
    elif expr != pst.BoolLit(True):
        yield expr


# ---- What is said of one --------------------------------------------------------------------------------------------


def _alone(reading: _Reading, schema: cedarpy.Schema) -> Iterator[Remark]:
    if _contradictory(reading.conditions) or _never_holds(reading.written, schema):
        yield reading.remark(
            RemarkCode.UNREACHABLE, f"Policy {reading.name!r} never applies: its conditions cannot all hold."
        )
    operations = {node.op for node in _nodes([reading.policy.clauses]) if isinstance(node, pst.UnaryOp | pst.BinaryOp)}
    if operations & _CAN_OVERFLOW:
        yield reading.remark(
            RemarkCode.MAY_FAIL,
            f"Policy {reading.name!r} computes ({', '.join(sorted(operations & _CAN_OVERFLOW))}), which fails when the "
            "result is too large; a policy that fails denies whatever it is asked about.",
        )


def _never_holds(written: Written, schema: cedarpy.Schema) -> bool:
    """Whether Cedar's own validator finds that the conditions are false, whoever asks what of what."""
    tried = written.cedar.rstrip().removesuffix(";") + _MISFIT
    return bool(cedarpy.validate_policies(tried, schema, release_gil=True).validation_passed)


def _contradictory(conditions: frozenset[pst.Expr]) -> bool:
    if pst.BoolLit(False) in conditions or any(_negated(each) in conditions for each in conditions):
        return True
    return _two_values(conditions) or _out_of_bounds(conditions)


def _two_values(conditions: Iterable[pst.Expr]) -> bool:
    """Whether something would have to equal two different literals."""
    equal: dict[pst.Expr, set[pst.Expr]] = {}
    for each in conditions:
        if isinstance(each, pst.BinaryOp) and each.op == "eq":
            for literal, thing in ((each.left, each.right), (each.right, each.left)):
                if isinstance(literal, pst.BoolLit | pst.LongLit | pst.StringLit | pst.EntityLit):
                    equal.setdefault(thing, set()).add(literal)
    return any(len(literals) > 1 for literals in equal.values()) or any(
        isinstance(thing, pst.LongLit | pst.StringLit | pst.EntityLit) and literals != {thing}
        for thing, literals in equal.items()
    )


def _out_of_bounds(conditions: Iterable[pst.Expr]) -> bool:
    """Whether a number would have to be greater than something and less than something smaller."""
    bounds: dict[pst.Expr, tuple[int, int]] = {}
    for each in conditions:
        if isinstance(each, pst.BinaryOp) and each.op in ("less", "less_eq", "eq"):
            apart = 1 if each.op == "less" else 0
            if isinstance(each.right, pst.LongLit):
                _tighten(bounds, each.left, most=each.right.value - apart)
                if each.op == "eq":
                    _tighten(bounds, each.left, least=each.right.value)
            if isinstance(each.left, pst.LongLit):
                _tighten(bounds, each.right, least=each.left.value + apart)
                if each.op == "eq":
                    _tighten(bounds, each.right, most=each.left.value)
    return any(least > most for least, most in bounds.values())


def _tighten(
    bounds: dict[pst.Expr, tuple[int, int]], thing: pst.Expr, *, least: int = _LEAST, most: int = _LONGEST
) -> None:
    known = _BETWEEN.get(thing.attr) if isinstance(thing, pst.GetAttr) else None
    before = bounds.get(thing, known or (_LEAST, _LONGEST))
    bounds[thing] = (max(before[0], least), min(before[1], most))


# ---- What is said of several ----------------------------------------------------------------------------------------


def _beside_each_other(readings: Sequence[_Reading]) -> Iterator[Remark]:
    by_condition: dict[pst.Expr | None, list[_Reading]] = {}
    for reading in readings:
        one_of_its = min(reading.conditions, key=repr, default=None)
        by_condition.setdefault(one_of_its, []).append(reading)
    for reading in readings:
        candidates = (each for key in (None, *reading.conditions) for each in by_condition.get(key, ()))
        covering = (each for each in candidates if each is not reading and each.covers(reading))
        remark = next(filter(None, (_overshadowed(reading, by) for by in covering)), None)
        if remark is not None:
            yield remark


def _overshadowed(reading: _Reading, by: _Reading) -> Remark | None:
    """What there is to say of a policy, given another that applies wherever it does; None if it still has its use."""
    if reading.permits and not by.permits:
        return reading.remark(
            RemarkCode.SHADOWED,
            f"Policy {reading.name!r} permits nothing: whatever it permits, {by.name!r} forbids.",
        )
    if reading.permits != by.permits or not _adds_nothing(reading, by):
        return None
    if not reading.covers(by):
        verb = "permits" if reading.permits else "forbids"
        return reading.remark(
            RemarkCode.SHADOWED, f"Policy {reading.name!r} {verb} only what {by.name!r} {verb} already."
        )
    if by.written.number > reading.written.number and _adds_nothing(by, reading):
        return None  # said of the later one
    return reading.remark(RemarkCode.DUPLICATE, f"Policy {reading.name!r} says the same as {by.name!r}.")


def _adds_nothing(reading: _Reading, by: _Reading) -> bool:
    """A permit's obligations are due beside another's, and a forbid that nobody may waive keeps one shut that
    somebody may."""
    if reading.permits:
        return {*reading.written.obligations} <= {*by.written.obligations}
    return by.written.annotations.get("escalate", "") in ("", reading.written.annotations.get("escalate", ""))


def _lost_guards(readings: Sequence[_Reading], before: Sequence[_Reading]) -> Iterator[Remark]:
    """The forbids in force that no forbid of the new set covers."""
    forbids = [reading for reading in readings if not reading.permits]
    names = {reading.name: reading for reading in forbids}
    checks = {reading.written.annotations.get("check") for reading in forbids}
    for guard in (reading for reading in before if not reading.permits):
        if any(each.covers(guard) for each in forbids):
            continue
        check = guard.written.annotations.get("check")
        bare = f" Nothing of the check {check} forbids anything any more." if check and check not in checks else ""
        kept = names.get(guard.name)
        yield Remark(
            code=RemarkCode.LOSES_GUARD,
            policy=guard.name,
            line=kept.written.line if kept else None,
            sentence=(
                f"Policy {guard.name!r} is changed, and may forbid less than the one in force."
                if kept
                else f"Policy {guard.name!r} is in force and forbids; it is not here, nor is one that covers it.{bare}"
            ),
        )


def _unread(written: Sequence[Written], readings: Sequence[_Reading]) -> Iterator[Remark]:
    read = {reading.written.number for reading in readings}
    for policy in written:
        if policy.number not in read:
            yield Remark(
                code=RemarkCode.UNREAD,
                policy=PolicyId(policy.name),
                line=policy.line,
                sentence=f"Policy {policy.name!r} nests too deeply to be looked through.",
            )


def _mentions(readings: Iterable[_Reading]) -> Iterator[Mention]:
    """In scopes and conditions, and in what annotations send people to."""
    for reading in readings:
        uids = sorted(pst.entity_uids(reading.policy), key=str)
        named = [uid.id for uid in uids if uid.type.basename in _PRINCIPALS]
        for ref in dict.fromkeys((*named, *reading.written.rule.turns_to)):
            yield Mention(policy=reading.name, line=reading.written.line, ref=PrincipalRef(ref))


def _nodes(roots: Iterable[object]) -> Iterator[object]:
    """Everything in these parts of a policy, at any depth."""
    waiting = [*roots]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Mapping):
            waiting.extend(node.values())
        elif isinstance(node, tuple):
            waiting.extend(node)
        else:
            waiting.extend(getattr(node, name) for name in getattr(node, "__slots__", ()))
