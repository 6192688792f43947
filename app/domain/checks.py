"""Governance checks: what was applied to an answer, in order, in words that give nothing away."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.access import Kind, PolicyId, Principal, Proof, Ruling
from app.domain.citation import Flag, Passage
from app.domain.instants import Instant, iso
from app.domain.labels import Label, Level


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
    AUTHORITY = "authority"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a question the checks speak about."""

    purpose: str | None
    valid_at: Instant
    known_at: Instant | None
    ahead: bool = False
    """`valid_at` is still to come."""


def applied(
    rules: Sequence[Rule],
    principal: Principal,
    asked: Asked,
    label: Label | None,
    *,
    decided_by: frozenset[PolicyId],
    intact: bool,
    authority: Check,
) -> tuple[Check, ...]:
    """Every check of an answer that was let through, in order.

    INVARIANT: a function of the principal, the question, the policies and what is shown. A rule that limits this
    principal is `narrowed` whether or not it removed anything. `decided_by` are the policies that let the question be
    put and the passages be shown.
    """

    def check(name: CheckName, narrowed: bool, reason: str) -> Check:
        outcome = CheckOutcome.NARROWED if narrowed else CheckOutcome.PASS
        return Check(check=name, outcome=outcome, reason=reason, policies=_of(rules, name, decided_by))

    subject, actor = principal.subject.profile, principal.actor.profile if principal.actor else None
    parties = [subject] if actor is None else [subject, actor]
    ceiling = min(party.clearance for party in parties)
    categories = frozenset.intersection(*(party.categories for party in parties))
    bound = [party for party in parties if party.jurisdictions or party.kind is Kind.USER]
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
        check(CheckName.TOOL, False, "Retrieval is allowed to this principal over this interface."),
        check(
            CheckName.BOUNDARY,
            True,
            f"Only documents whose readers or owners include {subject.ref}, directly or through groups, "
            "and that do not deny it"
            + (f", in the collections that {actor.ref} may use." if actor and actor.collections else "."),
        ),
        check(
            CheckName.CLEARANCE,
            ceiling < max(Level),
            f"Cleared up to {ceiling.word}"
            + (f", for {', '.join(sorted(categories))}" if categories else ", for no special category")
            + (" (the lower of subject and actor)" if actor else "")
            + f"{shown}.",
        ),
        check(
            CheckName.JURISDICTION,
            bool(bound),
            "Documents bound to jurisdictions are searched only where "
            + " and ".join(f"{party.ref} ({', '.join(sorted(party.jurisdictions)) or 'none'})" for party in bound)
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
        authority,
    )


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

    With no rule to name, nothing permits it: that is the `tool` check's to say.
    """
    deciding = [rule for rule in rules if rule.id in ruling.policies and not rule.permits]
    named = tuple(
        Check(check=rule.check or CheckName.TOOL, outcome=CheckOutcome.BLOCKED, reason=rule.reason, policies=(rule.id,))
        for rule in deciding
    ) or (
        Check(
            check=CheckName.TOOL,
            outcome=CheckOutcome.BLOCKED,
            reason="No policy allows this principal to ask over this interface. Ask an administrator.",
        ),
    )
    if any(check.check is CheckName.IDENTITY for check in named):
        return named
    who = Check(check=CheckName.IDENTITY, outcome=CheckOutcome.PASS, reason=_who(principal))
    return (who, *named)


def _who(principal: Principal) -> str:
    if principal.actor is None:
        return f"{principal.subject.ref}, proven by its own key."
    how = "proven by its own credential" if principal.proof is Proof.PROVEN else "asserted by the assistant, not proven"
    return f"{principal.subject.ref} ({how}), through {principal.actor.ref}."


def _of(rules: Sequence[Rule], name: CheckName, decided_by: frozenset[PolicyId]) -> tuple[PolicyId, ...]:
    """The forbids that stood guard, and of the permits those that let something be shown."""
    return tuple(rule.id for rule in rules if rule.check is name and (not rule.permits or rule.id in decided_by))
