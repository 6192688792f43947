"""Governance checks: what was applied to an answer, in order, in words that give nothing away."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.domain.access import (
    Action,
    Grant,
    GrantKind,
    Kind,
    Obligation,
    Party,
    PolicyId,
    Principal,
    PrincipalRef,
    Profile,
    Proof,
    Ruling,
)
from app.domain.citation import Flag, Passage
from app.domain.conflicts import Because, Contradiction
from app.domain.instants import Instant, iso
from app.domain.labels import Label, Level
from app.domain.obligations import duty


class CheckName(StrEnum):
    """In the order in which an answer lists them."""

    IDENTITY = "identity"
    PURPOSE = "purpose"
    TOOL = "tool"
    BOUNDARY = "boundary"
    CLEARANCE = "clearance"
    JURISDICTION = "jurisdiction"
    LIFECYCLE = "lifecycle"
    INTEGRITY = "integrity"
    FRESHNESS = "freshness"
    AUTHORITY = "authority"
    CONFLICT = "conflict"
    PERSONAL_DATA = "personal-data"
    GROUNDING = "grounding"
    """Of an answer in words: whether what it says stands in the passages."""


PERSONAL = frozenset({"pii", "phi"})
"""The categories of labels that speak of people."""


class CheckOutcome(StrEnum):
    PASS = "pass"
    NARROWED = "narrowed"
    """A rule limits what this caller sees. Never: that something was removed."""
    REDACTED = "redacted"
    WARNED = "warned"
    ESCALATED = "escalated"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    check: CheckName
    outcome: CheckOutcome
    reason: str
    policies: tuple[PolicyId, ...] = ()
    code: str | None = None
    """Of the rule that it is about, if it is about one alone: what programs know it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One policy as its author annotated it: which check it belongs to and why it exists, in plain words."""

    id: PolicyId
    check: CheckName | None
    reason: str
    permits: bool
    code: str = ""
    """What programs know the rule by, and grants waive it by; its id unless the author gave another."""
    escalate_to: str = ""
    """Of a forbid that a person may waive: a group, or `owner`. Empty: nobody may."""
    obligations: tuple[str, ...] = ()
    cedar: str = field(default="", compare=False, repr=False)
    """As its author wrote it."""

    @property
    def turns_to(self) -> tuple[PrincipalRef, ...]:
        """The groups that it counts on: who may waive it, and who is told."""
        told = [understood.group for each in self.obligations if (understood := duty(each)) and understood.group]
        waives = [PrincipalRef(self.escalate_to)] if self.escalate_to.startswith("group:") else []
        return (*waives, *told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a question the checks speak about."""

    purpose: str | None
    valid_at: Instant
    known_at: Instant | None
    ahead: bool = False
    """`valid_at` is still to come."""
    categories: frozenset[str] | None = None
    """What the purpose was registered for, if that is laid down."""


def applied(
    rules: Sequence[Rule],
    principal: Principal,
    asked: Asked,
    label: Label | None,
    *,
    decided_by: frozenset[PolicyId],
    intact: bool,
    inspected: Sequence[Check],
    personal_data: Check,
    grants: Sequence[Grant] = (),
) -> tuple[Check, ...]:
    """Every check of an answer that was let through, in order.

    INVARIANT: a function of the principal, the question, the policies and what is shown. A rule that limits this
    principal is `narrowed` whether or not it removed anything. `decided_by` are the policies that let the question be
    put and the passages be shown. `inspected` are the checks of the passages themselves, in order. `grants` are the
    subject's own that cover the question.
    """
    widened = _widened(rules, grants)

    def check(name: CheckName, narrowed: bool, reason: str) -> Check:
        outcome = CheckOutcome.NARROWED if narrowed else CheckOutcome.PASS
        said = " ".join([reason, *widened.get(name, ())])
        return Check(check=name, outcome=outcome, reason=said, policies=_of(rules, name, decided_by))

    subject, actors = principal.subject.profile, [actor.profile for actor in principal.actors]
    parties = [subject, *actors]
    ceiling = min(party.clearance for party in parties)
    categories = frozenset.intersection(*(party.categories for party in parties))
    limited = [actor for actor in actors if actor.collections]
    placed = [principal.subject, *principal.actors]
    bound = [party for party in placed if party.profile.jurisdictions or party.kind is Kind.USER]
    broken = any(grant.kind is GrantKind.BREAK_GLASS for grant in grants)
    shown = f"; what is shown is {label.level.word}" if label else ""
    integrity = (
        Check(
            check=CheckName.INTEGRITY,
            outcome=CheckOutcome.PASS,
            reason="Each quote has the digest it was published with.",
        )
        if intact
        else Check(
            check=CheckName.INTEGRITY,
            outcome=CheckOutcome.WARNED,
            reason="A passage was left out: its stored text is not what was published. Tell the collection's owner.",
        )
    )
    return (
        check(CheckName.IDENTITY, False, _who(principal)),
        check(
            CheckName.PURPOSE,
            asked.purpose is None,
            f"Asked for {asked.purpose}, a registered purpose."
            if asked.purpose
            else "No purpose was stated: only what is open to any purpose was searched.",
        ),
        check(
            CheckName.TOOL,
            bool(principal.scopes),
            "Retrieval is allowed to this principal over this interface"
            + (f", with credentials that are limited to {principal.limits}." if principal.scopes else "."),
        ),
        replace(
            check(
                CheckName.BOUNDARY,
                True,
                f"Only documents whose readers or owners include {subject.ref}, directly or through groups, "
                "and that do not deny it"
                + (f", in the collections that {_all_of(limited)} may use." if limited else "."),
            ),
            outcome=CheckOutcome.WARNED if broken else CheckOutcome.NARROWED,
        ),
        check(
            CheckName.CLEARANCE,
            ceiling < max(Level),
            f"Cleared up to {ceiling.word}"
            + (f", for {', '.join(sorted(categories))}" if categories else ", for no special category")
            + (f" (the lowest of {_all_of(parties)})" if len(actors) > 1 else _OF_BOTH if actors else "")
            + f"{shown}.",
        ),
        check(
            CheckName.JURISDICTION,
            bool(bound),
            "Documents bound to jurisdictions are searched only where "
            + " and ".join(f"{party.ref} ({_whereabouts(party)})" for party in bound)
            + " may use them, or a consent covers it."
            if bound
            else "No limit of jurisdiction applies to this principal.",
        ),
        check(
            CheckName.LIFECYCLE,
            True,
            f"Only versions in force at {iso(asked.valid_at)}"
            + (f", as known at {iso(asked.known_at)}" if asked.known_at is not None else "")
            + "; none that is withdrawn."
            + (" That lies ahead, so only what is one's own to curate was searched." if asked.ahead else ""),
        ),
        integrity,
        *inspected,
        _as_registered(personal_data, asked, _of(rules, CheckName.PERSONAL_DATA, decided_by)),
    )


def _opened(grant: Grant) -> str:
    """What a grant opens; in words that nobody takes for everyday ones if the subject took it itself."""
    opened = ", ".join(sorted(grant.collections))
    if grant.kind is GrantKind.BREAK_GLASS:
        ticket = f"(ticket {grant.because})"
        return (
            f"The glass is broken {ticket}: {opened} is open to {grant.subject} until {iso(grant.ends)} at the latest."
        )
    return f"A grant opens {opened} until {iso(grant.ends)}."


def _widened(rules: Sequence[Rule], grants: Sequence[Grant]) -> dict[CheckName, list[str]]:
    """What grants open and waive, and until when, by the check that says so."""
    said: dict[CheckName, list[str]] = {}
    for grant in grants:
        if grant.collections:
            said.setdefault(CheckName.BOUNDARY, []).append(_opened(grant))
        for rule in rules:
            if rule.escalate_to and rule.code in grant.waives:
                sentence = f"A grant waives {rule.code} for this question until {iso(grant.ends)}."
                said.setdefault(rule.check or CheckName.TOOL, []).append(sentence)
    return said


def _as_registered(personal_data: Check, asked: Asked, policies: tuple[PolicyId, ...]) -> Check:
    """The check with what the question's purpose was registered for, which limits what was searched."""
    policies = tuple(dict.fromkeys((*personal_data.policies, *policies)))
    if asked.categories is None:
        return replace(personal_data, policies=policies)
    limit = (
        f"{asked.purpose} was registered for {', '.join(sorted(asked.categories)) or 'no special category'}: "
        "beyond that, only what is bound to this purpose was searched."
    )
    passed = personal_data.outcome is CheckOutcome.PASS
    outcome = CheckOutcome.NARROWED if passed else personal_data.outcome
    return replace(personal_data, outcome=outcome, reason=f"{personal_data.reason} {limit}", policies=policies)


def personal_data(passages: Sequence[Passage], obligations: Sequence[Obligation], label: Label | None) -> Check:
    """What became of personal data in what is shown: redacted by obligation, or passed, as its label says.

    INVARIANT: a function of the passages and of what is owed for them. What ingest found of it is in their labels.
    """
    hidden = [passage.rank for passage in passages if passage.redactions]
    demanding = [each for each in obligations if each.id.startswith("redact:")]
    policies = tuple(dict.fromkeys(policy for each in demanding for policy in each.policies))
    held = sorted(label.categories & PERSONAL) if label else []
    outcome = CheckOutcome.PASS
    if hidden:
        outcome = CheckOutcome.REDACTED
        reason = f"Blacked out, as {', '.join(each.id for each in demanding)} demands: {_listed(hidden)}."
    elif demanding:
        reason = f"Nothing was found that {', '.join(each.id for each in demanding)} demands to be blacked out."
    elif held:
        reason = f"What is shown is labelled {', '.join(held)}, and was passed to a principal that holds it."
    else:
        reason = "What is shown is not labelled as holding personal data."
    return Check(check=CheckName.PERSONAL_DATA, outcome=outcome, reason=reason, policies=policies)


def freshness(passages: Sequence[Passage]) -> Check:
    """Whether what is shown is past its review date at the instant asked for."""
    stale = _ranked(passages, Flag.STALE)
    return Check(
        check=CheckName.FRESHNESS,
        outcome=CheckOutcome.WARNED if stale else CheckOutcome.PASS,
        reason=f"Past the review date: {_listed(stale)}. Ask the owner whether it still holds."
        if stale
        else "Nothing that is shown is past its review date.",
    )


def conflict(conflicts: Sequence[Contradiction], *, passages: int) -> Check:
    """Which of the passages contradict each other, in what, and which comes first; without a word of what they say."""
    if conflicts:
        reason = " ".join(map(_contradiction, conflicts))
    elif passages > 1:
        reason = "No passage was found to contradict another."
    else:
        reason = "There are no two passages that could contradict each other."
    outcome = CheckOutcome.WARNED if conflicts else CheckOutcome.PASS
    return Check(check=CheckName.CONFLICT, outcome=outcome, reason=reason)


def _contradiction(conflict: Contradiction) -> str:
    one, other = conflict.passages
    found = f"Passages {one} and {other} contradict each other in a {conflict.kind}"
    if conflict.kind == "polarity":
        found = f"Passages {one} and {other} say the opposite of each other"
    if conflict.preferred is None:
        return f"{found}; neither comes before the other."
    why = "is of a system of record" if conflict.because is Because.SYSTEM_OF_RECORD else "is the newer"
    return f"{found}; passage {conflict.preferred} {why}."


def authority(passages: Sequence[Passage], *, ruled: bool) -> Check:
    """Whether what is shown is the word of a system of record; `ruled` if one is known to the principal.

    INVARIANT: a function of the passages and of which collections may be known of. A copy that was passed over in
    favour of its original is one that would have been shown.
    """
    apart = _ranked(passages, Flag.NOT_AUTHORITATIVE)
    past = _ranked(passages, Flag.SUPERSEDED)
    preferred = _ranked(passages, Flag.SPEAKS_FOR_COPY)
    said = [
        f"Not from a system of record: {_listed(apart)}." if apart else "",
        f"Superseded since the instant asked for: {_listed(past)}." if past else "",
        f"The system of record speaks for a copy of it: {_listed(preferred)}." if preferred else "",
    ]
    if not ruled:
        otherwise = "No system of record is known to this principal, so no collection comes before another."
    elif passages:
        otherwise = "Every passage comes from a system of record."
    else:
        otherwise = "Where several say the same, the system of record speaks for them."
    outcome = CheckOutcome.WARNED if apart or past else CheckOutcome.NARROWED if preferred else CheckOutcome.PASS
    return Check(
        check=CheckName.AUTHORITY, outcome=outcome, reason=" ".join(each for each in said if each) or otherwise
    )


def _ranked(passages: Sequence[Passage], flag: Flag) -> list[int]:
    return [passage.rank for passage in passages if flag in passage.flags]


def _listed(ranks: Sequence[int]) -> str:
    return f"passage{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def blocked(rules: Sequence[Rule], ruling: Ruling, principal: Principal) -> tuple[Check, ...]:
    """The checks of a question that a policy forbids as a whole: who asked, and each rule that forbids it.

    With no rule to name, nothing permits it: that is the `tool` check's to say. Where each rule may be waived by a
    person, the question is escalated instead.
    """
    deciding = [rule for rule in rules if rule.id in ruling.policies and not rule.permits]
    named = tuple(_refused(rule, escalated=bool(ruling.escalate_to)) for rule in deciding) or (
        Check(
            check=CheckName.TOOL,
            outcome=CheckOutcome.BLOCKED,
            reason="No policy allows this principal to ask over this interface. Ask an administrator."
            if principal.may_use(Action.ASK)
            else f"The credentials are limited to {principal.limits}, and a question takes ask.",
        ),
    )
    if any(check.check is CheckName.IDENTITY for check in named):
        return named
    who = Check(check=CheckName.IDENTITY, outcome=CheckOutcome.PASS, reason=_who(principal))
    return (who, *named)


def _refused(rule: Rule, *, escalated: bool) -> Check:
    waiver = f" It may be waived for a time by {_WAIVERS.get(rule.escalate_to, rule.escalate_to)}." if escalated else ""
    return Check(
        check=rule.check or CheckName.TOOL,
        outcome=CheckOutcome.ESCALATED if escalated else CheckOutcome.BLOCKED,
        reason=f"{rule.reason}{waiver}",
        policies=(rule.id,),
        code=rule.code or None,
    )


_WAIVERS = {"owner": "the owner of the purpose"}


def _who(principal: Principal) -> str:
    """The subject, how it is known, and the whole chain, from whoever acts for it to whoever sent the request."""
    how = "proven by its own credential" if principal.proof is Proof.PROVEN else "asserted by the assistant, not proven"
    how += " and a second factor" if principal.second_factor else ""
    if not principal.actors:
        return f"{principal.subject.ref}, {how}."
    through = ", through ".join(reversed(principal.acting))
    return f"{principal.subject.ref} ({how}), through {through}."


_OF_BOTH = " (the lower of subject and actor)"


def _all_of(parties: Sequence[Profile]) -> str:
    return " and ".join(party.ref for party in parties)


def _whereabouts(party: Party) -> str:
    """Where it is, and what transfer rules open there."""
    opened = sorted(party.receives - party.within - party.profile.jurisdictions)
    around = sorted(party.within - party.profile.jurisdictions)
    return (
        (", ".join(sorted(party.profile.jurisdictions)) or "none")
        + (f", within {', '.join(around)}" if around else "")
        + (f"; by transfer rules also data of {', '.join(opened)}" if opened else "")
    )


def _of(rules: Sequence[Rule], name: CheckName, decided_by: frozenset[PolicyId]) -> tuple[PolicyId, ...]:
    """The forbids that stood guard, and of the permits those that let something be shown."""
    return tuple(rule.id for rule in rules if rule.check is name and (not rule.permits or rule.id in decided_by))
