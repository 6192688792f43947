"""A policy set as its authors wrote it: read policy by policy, with annotations, and what is wrong with either."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

from app.domain.access import PolicyId
from app.domain.checks import CheckName, Rule
from app.domain.obligations import KNOWN_FORMS, duty
from app.ports import Named

Json = dict[str, Any]

_MAX_POLICY_CHARS = 10_000
_MAX_BRACKETS = 40
_ANNOTATIONS = frozenset({"id", "code", "check", "reason", "obligation", "escalate"})
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_WAIVERS = re.compile(r"owner|group:[A-Za-z0-9][A-Za-z0-9._@+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One policy as its author wrote it."""

    number: int
    """From 1, in the text's order."""
    position: str
    """Cedar's name for it."""
    line: int
    """Where its first word is, from 1."""
    cedar: str
    """As it stands in the text, to its semicolon."""
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
            code=self.annotations.get("code", self.name),
            escalate_to=self.annotations.get("escalate", ""),
            obligations=self.obligations,
            cedar=_BLANK.sub("", self.cedar, count=1),
        )


def written_in(text: str) -> list[Written]:
    """Every policy and template, in the text's order; the text is one that `reading_faults` passes."""
    parsed: Json = json.loads(cedarpy.policies_to_json_str(text))
    bodies = [(position, body, False) for position, body in parsed["staticPolicies"].items()]
    bodies += [(position, body, True) for position, body in parsed["templates"].items()]
    bodies.sort(key=lambda entry: int(entry[0].removeprefix("policy")))
    pieces = [piece for piece in _pieces(text) if not _BLANK.fullmatch(piece.text)]
    return [
        Written(
            number=number,
            position=position,
            line=piece.line,
            cedar=piece.text,
            annotations={key: value or "" for key, value in body.get("annotations", {}).items()},
            permits=body["effect"] == "permit",
            template=template,
        )
        for number, ((position, body, template), piece) in enumerate(zip(bodies, pieces, strict=True), start=1)
    ]


def named_in(text: str) -> Named:
    """The words that its policies hold operations and things of other applications against, sorted."""
    parsed: Json = json.loads(cedarpy.policies_to_json_str(text))
    conditions = [body.get("conditions", []) for body in parsed["staticPolicies"].values()]
    return Named(
        operations=tuple(sorted(set(_compared(conditions, "context", "operation")))),
        things=tuple(sorted(set(_compared(conditions, "resource", "name")))),
    )


def _compared(conditions: Any, variable: str, attribute: str) -> Iterator[str]:
    """The texts that an attribute is compared with: by `==`, or by being in a set that is written out."""
    compared = {".": {"left": {"Var": variable}, "attr": attribute}}
    left: list[Any] = [conditions]
    while left:
        match left.pop():
            case list(several):
                left += several
            case dict(expression):
                for operator, operands in expression.items():
                    if operator in ("==", "contains") and compared in (operands["left"], operands["right"]):
                        yield from _texts(operands["left"])
                        yield from _texts(operands["right"])
                left += expression.values()


def _texts(expression: Json) -> Iterator[str]:
    for each in expression.get("Set", [expression]):
        if isinstance(value := each.get("Value"), str):
            yield value


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


_PUNCTUATION = re.compile(r'"(?:\\.|[^"\\])*"|//[^\r\n]*|[()\[\]{};]|\Z', re.DOTALL)
"""Strings and comments whole, so that what stands in them counts for nothing. To Cedar, a carriage return alone ends a
comment."""
_BLANK = re.compile(r"(?:\s|//[^\r\n]*)*")


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


def reading_faults(text: str) -> Iterator[str]:
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


def annotation_faults(written: Sequence[Written]) -> Iterator[str]:
    """INVARIANT: Cedar reads nothing into annotations, so what a slip in one would lose is looked for here."""
    for policy in written:
        yield from (f"{policy.called} {fault}." for fault in _faults_of(policy))
    for name, times in Counter(policy.name for policy in written if policy.name).items():
        if times > 1:
            yield f"{times} policies are called {name!r}: an @id names one."
    if not any(policy.permits for policy in written):
        yield "No policy permits anything, so nothing would ever be answered."


def obligation_faults(written: Sequence[Written]) -> Iterator[str]:
    """Obligations that nobody here understands. They keep a set from being put in force, and not one in force from
    deciding: there, whatever carries one is denied."""
    for policy in written:
        for unknown in (each for each in policy.obligations if duty(each) is None):
            yield f"{policy.called} lays on the obligation {unknown!r}, which is none: write {KNOWN_FORMS}."


def _faults_of(policy: Written) -> Iterator[str]:
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
    if "escalate" in notes and policy.permits:
        yield "permits, so there is nothing to waive: @escalate belongs to forbids"
    if "escalate" in notes and not _WAIVERS.fullmatch(notes["escalate"]):
        yield f"is escalated to {notes['escalate']!r}: write owner, or group:NAME"
    if "code" in notes and not _NAMED.fullmatch(notes["code"]):
        yield f"has the code {notes['code']!r}: write it with letters, digits and . _ : -"
    for unknown in sorted(notes.keys() - _ANNOTATIONS):
        yield f"is annotated with @{unknown}, which means nothing here"
