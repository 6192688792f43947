"""Whom recourse is sought from: the owners of what it is about, or whoever a rule names; and how a refusal says so."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from app.domain.access import ADMINISTRATORS, AUDITORS, Collection, PrincipalRef, Purpose, Ruling
from app.domain.answer import Query, Recourse
from app.domain.checks import Rule
from app.domain.recourse import Desk, EscalationKind
from app.domain.trace import TraceId
from app.operations import authorize
from app.operations.identify import Standing
from app.ports import Ports
from app.store import directory, registry

OWNER = "owner"
"""What a rule says for the owner of the question's purpose."""


def ways_forward(
    ports: Ports, session: Session, standing: Standing, ruling: Ruling, query: Query, trace: TraceId
) -> tuple[Recourse, ...]:
    """What a question that is refused as a whole leaves: an override if a person may waive the rules, and asking.

    INVARIANT: a function of the principal, the question and the policies. Whoever is not active is offered nothing.
    """
    if not active(standing):
        return ()
    about: dict[str, str | bool] = {"trace_id": trace, "share_question": True}
    ways = []
    if ruling.escalate_to:
        purposes = authorize.register(ports, session, standing).purposes
        purpose = purposes.get(query.purpose or "")
        desks = desks_named(ports, session, ruling.escalate_to, purpose, asked_by=askers(standing))
        ways.append((EscalationKind.OVERRIDE, "Have the rules waived for this question, for a time", desks))
    ways.append((EscalationKind.ASK, "Ask what may be done instead", (compliance(ports, session),)))
    return tuple(
        Recourse(
            kind=kind,
            title=title,
            owners=tuple(sorted(frozenset().union(*desks))),
            body={"kind": kind, **about},
        )
        for kind, title, desks in ways
    )


def waivable(rules: Sequence[Rule], policies: frozenset[str]) -> Mapping[str, str] | None:
    """The codes of these policies with whom each names to waive it; None unless each is a rule that may be waived."""
    named = [rule for rule in rules if rule.id in policies and not rule.permits]
    codes = {rule.code: rule.escalate_to for rule in named}
    return codes if len(named) == len(policies) and may_be_waived(rules, codes) else None


def may_be_waived(rules: Sequence[Rule], codes: Mapping[str, str]) -> bool:
    """Whether each of these codes is of rules that a person may waive, and of no others: those whom it is put with."""
    of_codes = [rule for rule in rules if rule.code in codes]
    return (
        bool(codes)
        and {rule.code for rule in of_codes} == set(codes)
        and all(rule.escalate_to and rule.escalate_to == codes[rule.code] for rule in of_codes)
    )


def desks_named(
    ports: Ports,
    session: Session,
    named: Sequence[str],
    purpose: Purpose | None,
    *,
    asked_by: frozenset[PrincipalRef],
) -> tuple[Desk, ...]:
    """A desk for each of whom rules name, in their order; `owner` is who answers for the purpose of the question, or
    else the administrators. Whoever asks and laid the purpose down has chosen its owner: then compliance decides."""
    owner = frozenset({purpose.owner if purpose is not None and purpose.owner is not None else ADMINISTRATORS})
    if OWNER in named and purpose is not None and registry.purpose_recorded_by(session, purpose.id) in asked_by:
        owner = compliance(ports, session)
    return tuple(dict.fromkeys(owner if each == OWNER else frozenset({PrincipalRef(each)}) for each in named))


def owners(
    ports: Ports, session: Session, collection: Collection, *, asked_by: frozenset[PrincipalRef]
) -> tuple[Desk, ...]:
    """The owners of a collection; compliance, if whoever asks laid the collection down and so chose them."""
    if registry.collection_recorded_by(session, collection.name) in asked_by:
        return (compliance(ports, session),)
    return (collection.owners,)


def compliance(ports: Ports, session: Session) -> Desk:
    """Whom to ask when nobody else is named: the group that is configured, if it is one, and else the auditors."""
    configured = ports.recourse.compliance
    known = configured is not None and not directory.missing(session, [configured])
    return frozenset({configured if known and configured else AUDITORS})


def askers(standing: Standing) -> frozenset[PrincipalRef]:
    """Everybody who asks in a request: the subject and all through whom it does."""
    return frozenset((standing.principal.subject.ref, *(actor.ref for actor in standing.principal.actors)))


def active(standing: Standing) -> bool:
    return all(party.profile.active for party in (standing.principal.subject, *standing.principal.actors))
