"""Going back over traces: one's own, or as an auditor everybody's."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.domain.access import Action, PrincipalRef
from app.domain.errors import Invalid, NotFound
from app.domain.recourse import Escalation
from app.domain.trace import Trace, TraceId
from app.operations import authorize
from app.operations.identify import Credentials, Standing, identify
from app.ports import Institution, Ports
from app.store import escalations
from app.store import traces as trace_store
from app.store.database import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """A trace as it may be seen. Its grounds tell of what was hidden, so they are an auditor's alone."""

    trace: Trace
    audited: bool
    escalations: tuple[Escalation, ...] = ()
    """Those that are about it, or under which it was asked again. Looked up for a single one."""


def traces(ports: Ports, credentials: Credentials, *, before: TraceId | None, limit: int) -> list[Reviewed]:
    """Newest first. A person sees what was asked for them through any assistant; an assistant, what it had a part in.

    Raises `Invalid` if `before` is no trace that may be seen: where others' traces stand is not told.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        audited = _audits(ports, session, standing)
        if before is not None and not _visible(standing, trace_store.trace(session, before), audited=audited):
            raise Invalid("That cursor is not one that was given out here. Begin again without one.")
        if not (audited or _active(standing)):
            return []
        found = trace_store.traces(session, of=None if audited else _own(standing), before=before, limit=limit)
    return [_shown(standing, trace, audited=audited) for trace in found]


def trace(ports: Ports, credentials: Credentials, id: TraceId) -> Reviewed:
    """Raises `NotFound` for one that is absent or somebody else's."""
    with reading(ports.engine) as session:
        return trace_as_of(ports, session, credentials, id)


def trace_as_of(ports: Ports, session: Session, credentials: Credentials, id: TraceId) -> Reviewed:
    """As `trace`, on the state of the database that `session` sees."""
    standing = identify(ports, session, credentials)
    audited = _audits(ports, session, standing)
    found = trace_store.trace(session, id)
    about = escalations.about_trace(session, id)
    if found is None or not _visible(standing, found, audited=audited):
        raise NotFound("There is no trace by that id that you may see.")
    return replace(_shown(standing, found, audited=audited), escalations=tuple(about))


def _audits(ports: Ports, session: Session, standing: Standing) -> bool:
    return authorize.permitted(ports, session, standing, Action.AUDIT, Institution())


def _visible(standing: Standing, found: Trace | None, *, audited: bool) -> bool:
    return found is not None and (audited or (_active(standing) and _is_own(standing, found)))


def _active(standing: Standing) -> bool:
    """Whoever has left may look at nothing, their own traces included. A trace tells what was asked and read, so a
    credential that is not good for both, in every collection, is good for no trace."""
    principal = standing.principal
    good = principal.may_use(Action.ASK) and principal.may_use(Action.READ)
    return good and all(party.profile.active for party in (principal.subject, *principal.actors))


def _own(standing: Standing) -> tuple[PrincipalRef, tuple[PrincipalRef, ...]]:
    return standing.principal.subject.ref, standing.principal.acting


def _is_own(standing: Standing, found: Trace) -> bool:
    """INVARIANT: whoever acts now acted then, so what was answered then was within the ceiling of each of them."""
    subject, actors = _own(standing)
    return found.subject == subject and set(actors) <= set(found.actors)


def _shown(standing: Standing, found: Trace, *, audited: bool) -> Reviewed:
    """What was asked is content of whoever asked: an auditor sees that it was asked, not the words."""
    if (_active(standing) and _is_own(standing, found)) or "query" not in found.request:
        return Reviewed(trace=found, audited=audited)
    return Reviewed(trace=replace(found, request={**found.request, "query": None}), audited=audited)
