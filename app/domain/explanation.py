"""Why a question was decided as it was, and what would have to be otherwise for it to be allowed.

What is proposed here is only tried: `operations/explain.py` decides each proposal again, and tells of those that held.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.domain.access import (
    Boundary,
    Collection,
    Kind,
    Party,
    PolicyId,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Question,
    Ruling,
    Terms,
)
from app.domain.checks import CheckName, Rule

MAX_OF_A_KIND = 20
"""Purposes, groups and jurisdictions that are tried one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is decided: a question, and about what. Neither boundary nor collection is the institution."""

    question: Question
    boundary: Boundary | None = None
    """Filled in from `collection`, which is given with it."""
    collection: Collection | None = None


class ProposalKind(StrEnum):
    """What would be otherwise. Listed in the order in which proposals are put one on another."""

    PURPOSE = "purpose"
    NO_ASSISTANT = "no-assistant"
    PROOF = "proof"
    SECOND_FACTOR = "second-factor"
    ACTIVE = "active"
    GROUP = "group"
    READER = "reader"
    NOT_DENIED = "not-denied"
    CLEARANCE = "clearance"
    CATEGORIES = "categories"
    JURISDICTION = "jurisdiction"
    OWN_PURPOSES = "own-purposes"
    COLLECTIONS = "collections"
    CONSENT = "consent"
    TRANSFER = "transfer"
    GRANT = "grant"
    WAIVER = "waiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One thing that could be otherwise."""

    kind: ProposalKind
    sentence: str
    of: Callable[[Case], Case] = field(compare=False, repr=False)
    """The case that it would make of a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with all that determined it, and what was found that would change it."""

    case: Case
    ruling: Ruling
    permits: tuple[Rule, ...]
    """Those that apply, whether or not they decided."""
    forbids: tuple[Rule, ...]
    ways: tuple[tuple[Proposal, ...], ...]
    """Each is enough, decided again; the smallest that were found. Empty if it is allowed, or none was found."""
    unmet: tuple[PolicyId, ...]
    """Forbids that nothing that was tried lifts."""

    @property
    def verdict(self) -> str:
        if self.ruling.allowed:
            return "It is allowed: nothing would have to change."
        if self.permits and not self.forbids:
            return "A policy failed, or asks for something that is not done here; that denies until it is mended."
        if self.ways:
            parts = len(self.ways[0])
            return "Any one of these would be enough." if parts == 1 else f"{parts} things together would be enough."
        if self.unmet:
            return (
                f"Nothing short of a change of policy was found: nothing that was tried lifts {', '.join(self.unmet)}."
            )
        return "Nothing short of a change of policy was found."


def proposals(
    case: Case,
    rules: Sequence[Rule],
    denying: Sequence[PolicyId],
    *,
    purposes: Mapping[str, Question],
    above: Mapping[PrincipalRef, frozenset[PrincipalRef]],
) -> list[Proposal]:
    """Everything that is worth trying for a case that is denied.

    `purposes` are the questions as they would be asked for each purpose, with what grants and registers say then;
    `above`, for each group that could be joined, the groups that it is in.
    """
    made = [
        *_of_purposes(case, purposes),
        *_of_the_chain(case),
        *_of_groups(case, above),
        *_of_boundary(case),
        *(each for party in _parties(case) for each in _of_party(case, party)),
        *_of_terms(case, rules, denying),
    ]
    order = list(ProposalKind)
    return sorted(made, key=lambda each: order.index(each.kind))


def groups_in(rules: Sequence[Rule]) -> frozenset[PrincipalRef]:
    """The groups that permits name: whoever were in one might be permitted."""
    texts = (rule.cedar for rule in rules if rule.permits)
    return frozenset(PrincipalRef(name) for text in texts for name in re.findall(r'Group::"(group:[^"\\]+)"', text))


def _of_purposes(case: Case, purposes: Mapping[str, Question]) -> Iterator[Proposal]:
    wanted = case.boundary.purposes if case.boundary is not None else frozenset[str]()
    for purpose in sorted(purposes, key=lambda each: (each not in wanted, each))[:MAX_OF_A_KIND]:
        if purpose != case.question.purpose:
            yield Proposal(
                kind=ProposalKind.PURPOSE,
                sentence=f"The question states the purpose {purpose}.",
                of=_stating(purposes[purpose]),
            )


def _of_the_chain(case: Case) -> Iterator[Proposal]:
    principal = case.question.principal
    if principal.actors:
        yield Proposal(
            kind=ProposalKind.NO_ASSISTANT,
            sentence=f"{principal.subject.ref} asks in person, through no assistant.",
            of=_asked_by(lambda principal: replace(principal, actors=(), proof=Proof.PROVEN)),
        )
    if principal.proof is not Proof.PROVEN:
        yield Proposal(
            kind=ProposalKind.PROOF,
            sentence=f"{principal.subject.ref} proves who they are, instead of being named by an assistant.",
            of=_asked_by(lambda principal: replace(principal, proof=Proof.PROVEN)),
        )
    if not principal.second_factor:
        yield Proposal(
            kind=ProposalKind.SECOND_FACTOR,
            sentence=f"{principal.subject.ref} signs in with a second factor.",
            of=_asked_by(lambda principal: replace(principal, second_factor=True)),
        )


def _of_groups(case: Case, above: Mapping[PrincipalRef, frozenset[PrincipalRef]]) -> Iterator[Proposal]:
    subject = case.question.principal.subject
    for group in sorted(above)[:MAX_OF_A_KIND]:
        if group not in subject.groups:
            yield Proposal(
                kind=ProposalKind.GROUP,
                sentence=f"{subject.ref} is in {group}.",
                of=_with(subject, _joining(above[group] | {group})),
            )


def _of_boundary(case: Case) -> Iterator[Proposal]:
    boundary, subject = case.boundary, case.question.principal.subject
    if boundary is None:
        return
    names = subject.groups | {subject.ref}
    if not names & boundary.readers:
        yield Proposal(
            kind=ProposalKind.READER,
            sentence=f"An owner of {boundary.collection} names {subject.ref} among the readers.",
            of=_bounded(lambda boundary: replace(boundary, readers=boundary.readers | {subject.ref})),
        )
    if hit := names & boundary.denied:
        yield Proposal(
            kind=ProposalKind.NOT_DENIED,
            sentence=f"An owner of {boundary.collection} takes {_listed(hit)} from those who are denied.",
            of=_bounded(lambda boundary: replace(boundary, denied=boundary.denied - hit)),
        )


def _of_party(case: Case, party: Party) -> Iterator[Proposal]:
    """What could be otherwise about one party: its ceiling, if it is an assistant that acts."""
    profile, ref, purpose = party.profile, party.ref, case.question.purpose

    def of(kind: ProposalKind, sentence: str, changed: Callable[[Profile], Profile]) -> Proposal:
        return Proposal(
            kind=kind,
            sentence=sentence,
            of=_with(party, lambda party: replace(party, profile=changed(party.profile))),
        )

    if not profile.active:
        yield of(ProposalKind.ACTIVE, f"{ref} is active.", lambda profile: replace(profile, active=True))
    if profile.purposes and purpose not in profile.purposes:
        yield Proposal(
            kind=ProposalKind.OWN_PURPOSES,
            sentence=f"The purpose that the question states is among those of {ref}.",
            of=lambda case: _with(party, _for(case.question.purpose))(case),
        )
    if case.collection is not None and profile.collections and case.collection.name not in profile.collections:
        name = case.collection.name
        yield of(
            ProposalKind.COLLECTIONS,
            f"{name} is among the collections of {ref}.",
            lambda profile: replace(profile, collections=profile.collections | {name}),
        )
    if case.boundary is not None:
        yield from _towards(case.boundary, party, of)


def _towards(
    boundary: Boundary, party: Party, of: Callable[[ProposalKind, str, Callable[[Profile], Profile]], Proposal]
) -> Iterator[Proposal]:
    """What a party lacks of what a boundary asks."""
    profile, ref, label = party.profile, party.ref, boundary.label
    if profile.clearance < label.level:
        yield of(
            ProposalKind.CLEARANCE,
            f"{ref} is cleared for {label.level.word}.",
            lambda profile: replace(profile, clearance=label.level),
        )
    if missing := label.categories - profile.categories:
        yield of(
            ProposalKind.CATEGORIES,
            f"{ref} holds {_listed(missing)}.",
            lambda profile: replace(profile, categories=profile.categories | missing),
        )
    limited = bool(profile.jurisdictions) or profile.kind is Kind.USER
    places = boundary.jurisdictions | {each for each in boundary.consents if ":" not in each}
    if limited and not profile.jurisdictions & places:
        for place in sorted(places)[:MAX_OF_A_KIND]:
            yield Proposal(
                kind=ProposalKind.JURISDICTION,
                sentence=f"{ref} is in {place}.",
                of=_with(party, _moving(place)),
            )


def _of_terms(case: Case, rules: Sequence[Rule], denying: Sequence[PolicyId]) -> Iterator[Proposal]:
    terms, boundary, question = case.question.terms, case.boundary, case.question
    for consent in sorted(boundary.consents - terms.consents)[:MAX_OF_A_KIND] if boundary is not None else ():
        yield Proposal(
            kind=ProposalKind.CONSENT,
            sentence=f"A consent is in force that the boundary names: {consent}.",
            of=_consenting(consent),
        )
    if terms.consent_needed and not terms.consented:
        whose = question.client or "the client, who has to be stated,"
        yield Proposal(
            kind=ProposalKind.CONSENT,
            sentence=f"A consent of {whose} to this purpose is in force.",
            of=_granting(lambda terms: replace(terms, consented=True)),
        )
    if not terms.transferable:
        yield Proposal(
            kind=ProposalKind.TRANSFER,
            sentence=f"A transfer rule lets data go to {question.destination}.",
            of=_granting(lambda terms: replace(terms, transferable=True)),
        )
    if case.collection is not None and case.collection.name not in terms.granted:
        name = case.collection.name
        yield Proposal(
            kind=ProposalKind.GRANT,
            sentence=f"A grant in force opens {name} to {question.principal.subject.ref}.",
            of=_granting(lambda terms: replace(terms, granted=terms.granted | {name})),
        )
    for rule in rules:
        if rule.id in denying and rule.escalate_to and rule.code not in terms.waived:
            yield Proposal(
                kind=ProposalKind.WAIVER,
                sentence=f"A grant waives {rule.code} for this very question: {rule.escalate_to} decides on one.",
                of=_waiving(rule.code),
            )


def _parties(case: Case) -> tuple[Party, ...]:
    principal = case.question.principal
    return (principal.subject, *principal.actors)


def _stating(asked: Question) -> Callable[[Case], Case]:
    return lambda case: replace(case, question=replace(case.question, purpose=asked.purpose, terms=asked.terms))


def _joining(groups: frozenset[PrincipalRef]) -> Callable[[Party], Party]:
    return lambda party: replace(party, groups=party.groups | groups)


def _moving(place: str) -> Callable[[Party], Party]:
    return lambda party: replace(
        party,
        profile=replace(party.profile, jurisdictions=party.profile.jurisdictions | {place}),
        receives=party.receives | {place},
    )


def _for(purpose: str | None) -> Callable[[Party], Party]:
    stated = frozenset() if purpose is None else frozenset({purpose})
    return lambda party: replace(party, profile=replace(party.profile, purposes=party.profile.purposes | stated))


def _consenting(consent: str) -> Callable[[Case], Case]:
    return _granting(lambda terms: replace(terms, consents=terms.consents | {consent}))


def _waiving(code: str) -> Callable[[Case], Case]:
    return _granting(lambda terms: replace(terms, waived=terms.waived | {code}))


def _with(whose: Party, changed: Callable[[Party], Party]) -> Callable[[Case], Case]:
    """The case with one of its parties changed, wherever that stands in it."""

    def each(party: Party) -> Party:
        return changed(party) if party.ref == whose.ref else party

    return _asked_by(
        lambda principal: replace(principal, subject=each(principal.subject), actors=tuple(map(each, principal.actors)))
    )


def _asked_by(changed: Callable[[Principal], Principal]) -> Callable[[Case], Case]:
    return lambda case: replace(case, question=replace(case.question, principal=changed(case.question.principal)))


def _granting(changed: Callable[[Terms], Terms]) -> Callable[[Case], Case]:
    return lambda case: replace(case, question=replace(case.question, terms=changed(case.question.terms)))


def _bounded(changed: Callable[[Boundary], Boundary]) -> Callable[[Case], Case]:
    return lambda case: replace(case, boundary=changed(case.boundary)) if case.boundary else case


def _listed(names: frozenset[str] | frozenset[PrincipalRef]) -> str:
    return ", ".join(sorted(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What bounds all that a principal reads: rules that everybody may know, and its own attributes under them."""

    check: CheckName
    sentence: str
    rules: tuple[Rule, ...]


def limits(principal: Principal, purpose: str | None, rules: Sequence[Rule]) -> tuple[Limit, ...]:
    """INVARIANT: a function of the principal, of what it asked and of the rules; never of what there is to be read."""
    parties = (principal.subject.profile, *(actor.profile for actor in principal.actors))
    said: dict[CheckName, list[str]] = {name: [] for name in CheckName}
    said[CheckName.BOUNDARY].append(f"What is read names {principal.subject.ref} or one of its groups as a reader.")
    stated = f"The purpose stated is {purpose}" if purpose is not None else "No purpose is stated"
    said[CheckName.PURPOSE].append(f"{stated}: what is bound to others is out of reach.")
    for each in parties:
        categories = ", ".join(sorted(each.categories)) or "no special category"
        said[CheckName.CLEARANCE].append(f"{each.ref} is cleared up to {each.clearance.word}, for {categories}.")
        if each.jurisdictions or each.kind is Kind.USER:
            places = ", ".join(sorted(each.jurisdictions)) or "no jurisdiction"
            said[CheckName.JURISDICTION].append(f"{each.ref} is in {places}.")
        if each.purposes:
            said[CheckName.PURPOSE].append(f"{each.ref} acts for {', '.join(sorted(each.purposes))} alone.")
        if each.collections:
            said[CheckName.TOOL].append(f"{each.ref} reaches {', '.join(sorted(each.collections))} alone.")
        if not each.active:
            said[CheckName.IDENTITY].append(f"{each.ref} is not active.")
    return tuple(
        Limit(check=name, sentence=" ".join(sentences), rules=tuple(rule for rule in rules if rule.check is name))
        for name, sentences in said.items()
        if sentences
    )
