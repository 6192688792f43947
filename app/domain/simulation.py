"""What a draft of the policies would change before anybody is affected: who gains what, who loses what, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.access import (
    Action,
    Boundary,
    BoundaryId,
    Kind,
    Party,
    PolicyId,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Ruling,
)
from app.domain.checks import Rule
from app.domain.corpus import DocumentId
from app.domain.instants import Instant

_UNNAMED = "-"
"""Stands for whoever, or whatever purpose, nothing names. It cannot be spelt on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: a subject, and the assistants that act for it, whoever sends the request first."""

    subject: PrincipalRef
    actors: tuple[PrincipalRef, ...] = ()
    proof: Proof = Proof.PROVEN

    @property
    def label(self) -> str:
        through = " through ".join((self.subject, *reversed(self.actors)))
        return through if self.proof is Proof.PROVEN else f"{through} (asserted)"


class Direction(StrEnum):
    GAINS = "gains"
    LOSES = "loses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One decision that would come out otherwise."""

    before: Ruling
    after: Ruling

    @property
    def change(self) -> Direction:
        return Direction.GAINS if self.after.allowed else Direction.LOSES

    @property
    def telling(self) -> tuple[PolicyId, ...]:
        """The rules that make the difference: the forbids on the denied side, or the permits where none forbade."""
        denied, allowed = (self.before, self.after) if self.after.allowed else (self.after, self.before)
        return denied.policies or allowed.policies


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a draft does to the rules in force. A rule that is written otherwise is both dropped and new."""

    dropped: tuple[Rule, ...]
    new: tuple[Rule, ...]

    @classmethod
    def between(cls, before: Sequence[Rule], after: Sequence[Rule]) -> "Edit":
        old, new = ({(rule.id, rule.cedar) for rule in rules} for rules in (before, after))
        return cls(
            dropped=tuple(rule for rule in before if (rule.id, rule.cedar) not in new),
            new=tuple(rule for rule in after if (rule.id, rule.cedar) not in old),
        )

    @property
    def rewritten(self) -> frozenset[PolicyId]:
        return frozenset(rule.id for rule in self.dropped) & frozenset(rule.id for rule in self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What policies, boundaries and collections call by name, and so tell apart from what is otherwise equal."""

    texts: tuple[str, ...]
    """Of the policy sets that decide."""
    groups: frozenset[PrincipalRef]
    """Among readers, denied and owners."""

    def names(self, name: str) -> bool:
        """Whether a rule may name it: it stands there in quotes, or could, being written with escapes."""
        return any(f'"{name}"' in text or "\\" in text for text in self.texts)

    def alike(self, question: Question, *, but_for: frozenset[str] = frozenset()) -> Question:
        """Equal for two questions only if each resource that mentions neither is decided alike for both.

        Cedar knows of a principal its attributes, the groups it is in and its own name; of those, only what a rule or
        a resource names can tell it from another. All else of the question is kept as it is, and so are the names
        `but_for`: those that the resources do mention.
        """
        principal = question.principal
        parties = (principal.subject, *principal.actors)
        compared = principal.subject.kind is Kind.ASSISTANT and bool(principal.actors)  # with one another, by a rule
        known = parties if compared else tuple(self._as_known(party, but_for) for party in parties)
        purpose = question.purpose
        limited = any(purpose in party.profile.purposes for party in parties)
        if purpose is not None and not (limited or purpose in but_for or self.names(purpose)):
            purpose = _UNNAMED
        return replace(question, principal=replace(principal, subject=known[0], actors=known[1:]), purpose=purpose)

    def _as_known(self, party: Party, but_for: frozenset[str]) -> Party:
        profile: Profile = party.profile
        named = profile.ref in but_for or self.names(profile.ref)
        return replace(
            party,
            profile=replace(
                profile,
                ref=profile.ref if named else PrincipalRef(f"{profile.kind}:{_UNNAMED}"),
                display_name="",
                groups=frozenset(),
                may_assert=False,
                team=None,
            ),
            groups=frozenset(group for group in party.groups if group in self.groups or self.names(group)),
        )


def mentions(question: Question) -> frozenset[str]:
    """The names by which a resource may mention a question: its parties', and its purpose."""
    principal = question.principal
    refs = frozenset[str](party.ref for party in (principal.subject, *principal.actors))
    return refs if question.purpose is None else refs | {question.purpose}


# -- The report --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """One asker and one boundary whose content it would gain or lose, when it states one of these purposes."""

    asker: Asker
    active: bool
    """Whether every party of the asker is; who is not holds keys that a draft might revive."""
    boundary: BoundaryId
    purposes: tuple[str | None, ...]
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many (principal, document) pairs and how many documents."""

    name: str
    pairs: int
    documents: int
    askers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """All that is gained, or all that is lost, of one action. A document is one with a version in force."""

    pairs: int
    """Of an asker and a document."""
    documents: int
    askers: int
    by_asker: tuple[Tally, ...]
    by_collection: tuple[Tally, ...]
    by_rule: tuple[Tally, ...]
    affected: tuple[Affected, ...]


def side_of(
    affected: Sequence[Affected],
    documents: Mapping[BoundaryId, Sequence[DocumentId]],
    boundaries: Mapping[BoundaryId, Boundary],
) -> Side:
    """These changes, all of one direction, counted in documents; the largest first in each list."""

    def tallies(*named: tuple[str, Affected]) -> tuple[Tally, ...]:
        by_name: dict[str, list[Affected]] = {}
        for name, each in named:
            by_name.setdefault(name, []).append(each)
        made = [
            Tally(
                name=name,
                pairs=sum(len(documents.get(each.boundary, ())) for each in several),
                documents=sum(len(documents.get(id, ())) for id in {each.boundary for each in several}),
                askers=len({each.asker for each in several}),
            )
            for name, several in by_name.items()
        ]
        return tuple(sorted(made, key=lambda tally: (-tally.pairs, tally.name)))

    whole = tallies(*(("", each) for each in affected))
    return Side(
        pairs=whole[0].pairs if whole else 0,
        documents=whole[0].documents if whole else 0,
        askers=whole[0].askers if whole else 0,
        by_asker=tallies(*((each.asker.label, each) for each in affected)),
        by_collection=tallies(*((boundaries[each.boundary].collection, each) for each in affected)),
        by_rule=tallies(*((rule, each) for each in affected for rule in each.difference.telling)),
        affected=tuple(sorted(affected, key=lambda each: (-len(documents.get(each.boundary, ())), each.asker.label))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Something beside reading that an asker would gain or lose: over a collection, or over the institution."""

    asker: Asker
    active: bool
    action: Action
    collection: str | None
    purposes: tuple[str | None, ...]
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A question as it was asked, however often: all that a decision depends on, and what was cited."""

    asker: Asker
    purpose: str | None
    client: str | None
    destination: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What would become of a recorded question, asked today."""

    question: Recorded
    times: int
    before: str
    """asked, blocked or escalated."""
    after: str
    cited: int
    """Passages that its answers showed and that are still there."""
    lost: int
    """Of those, how many may be read today and could not be under the draft."""
    gained_documents: int
    lost_documents: int
    """Of what is in force."""

    @property
    def changed(self) -> bool:
        return self.before != self.after or bool(self.lost or self.gained_documents or self.lost_documents)


def fate(ruling: Ruling) -> str:
    """What becomes of a question that is put."""
    return "asked" if ruling.allowed else "escalated" if ruling.escalate_to else "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What was looked at, so that nobody takes a part for the whole."""

    askers: int
    of_askers: int
    boundaries: int
    documents: int
    purposes: tuple[str, ...]
    recorded: int
    """Questions on record in the time asked for, of which `replayed` are different."""
    replayed: int
    of_replayed: int
    unregistered: int
    """Different questions on record that are refused either way: their purpose is registered no longer."""
    decisions: int
    cut: tuple[str, ...]
    """Why something was left out; empty if nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a draft would change. Names principals, collections, boundaries and document ids; never content."""

    at: Instant
    edit: Edit
    compared: Compared
    reading: Mapping[Direction, Side]
    describing: Mapping[Direction, Side]
    powers: tuple[Power, ...]
    replayed: tuple[Replayed, ...]
    """Those that would come out otherwise."""
    boundaries: Mapping[BoundaryId, Boundary]
    """As today's collections fill them in; those that `reading` and `describing` speak of."""
    documents: Mapping[BoundaryId, Sequence[DocumentId]]

    @property
    def verdict(self) -> str:
        """What an administrator has to know, in plain words, the worst first."""
        gained, lost = self.reading[Direction.GAINS], self.reading[Direction.LOSES]
        worst = [each for each in self.powers if each.difference.after.allowed and each.action in _WORST]
        said = [
            f"{_listed(each.asker.label for each in several)} could {action}."
            for action in _WORST
            if (several := [power for power in worst if power.action is action])
        ]
        said.append(f"{_several(gained)} gained, {_several(lost)} lost." if gained.pairs or lost.pairs else "")
        others = Counter(f"{each.action} {each.difference.change}" for each in self.powers if each not in worst)
        if others:
            said.append(f"Other powers: {', '.join(f'{what} {times}' for what, times in sorted(others.items()))}.")
        shown = [side for side in self.describing.values() if side.pairs]
        if shown:
            said.append(f"Metadata: {sum(side.pairs for side in shown)} (principal, document) pairs change.")
        if self.replayed:
            said.append(f"{len(self.replayed)} recorded questions would come out otherwise.")
        said = [each for each in said if each] or ["Nothing that was compared would change for anybody."]
        if self.compared.cut:
            said.append("This is not the whole of it: " + " ".join(self.compared.cut))
        return " ".join(said)


_WORST = (Action.MANAGE, Action.AUDIT, Action.CURATE)


def _several(side: Side) -> str:
    if not side.pairs:
        return "Nothing is"
    return (
        f"{side.pairs} (principal, document) pair{'s'[: side.pairs != 1]} ({side.documents} "
        f"document{'s'[: side.documents != 1]}, {side.askers} asker{'s'[: side.askers != 1]}) would be"
    )


def _listed(names: Iterable[str], most: int = 3) -> str:
    several = list(dict.fromkeys(names))
    more = len(several) - most
    return ", ".join(several[:most]) + (f" and {more} more" if more > 0 else "")
