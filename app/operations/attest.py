"""The last step before anything leaves: it is on record."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from app.domain.access import Principal, Reach
from app.domain.answer import Answer, Mode, Query
from app.domain.citation import Citation, Passage
from app.domain.conflicts import Contradiction
from app.domain.errors import Conflict, Invalid, MunimentError, NotPermitted
from app.domain.trace import Account, Trace, TraceId, TraceKind
from app.operations.discharge import notify
from app.operations.identify import Credentials, Standing, identify
from app.ports import Ports
from app.store import escalations, traces
from app.store.database import reading, writing


def attest(
    ports: Ports,
    standing: Standing,
    query: Query,
    reach: Reach,
    answer: Answer,
    *,
    drops: Mapping[str, int],
    said: Account | None = None,
    cited: Sequence[Citation] = (),
) -> Answer:
    """The same answer, once its trace and citations are stored. Raises `Unavailable` if they cannot be.

    `said` is what is answered in words, as an account; `cited` is what it cites beside the passages.
    """
    asker = (standing.witness or standing).principal
    evaluated = {"who": standing.principal.subject.ref} if standing.witness else {}
    trace = Trace(
        id=answer.trace_id,
        at=standing.now,
        kind=TraceKind.EVALUATION if standing.witness else TraceKind.RETRIEVE,
        subject=asker.subject.ref,
        actors=asker.acting,
        proof=asker.proof,
        outcome=answer.outcome,
        request=_asked(query) | evaluated,
        response=_answered(answer) | ({"answer": dict(said)} if said is not None else {}),
        grounds=_grounds(standing, reach, drops),
    )
    with writing(ports.engine) as session:
        traces.add_trace(session, trace)
        if standing.witness is not None:
            return answer  # nobody was shown anything: nothing is cited, and nobody is told of it
        traces.add_citations(
            session, _reopenable([*(each.citation for each in answer.passages), *cited]), at=standing.now
        )
        notify(ports, session, answer.obligations, standing.principal, answer.trace_id, standing.now)
        if query.again is not None:
            escalations.add_repeat(session, query.again.escalation, trace.id)
    return answer


def attest_sentences(
    ports: Ports, principal: Principal, answer: TraceId, number: int, *, said: Account, cited: Sequence[Citation]
) -> TraceId:
    """Put on record what is answered in words to a question that is on record already: so many records after it."""
    with writing(ports.engine) as session:
        traces.add_citations(session, _reopenable(cited), at=ports.now())
        return record_with(
            session,
            ports,
            principal,
            TraceKind.ANSWER,
            outcome="answered",
            request={"of": answer, **said},
            trace_id=TraceId(f"{answer}.{number}"),
        )


def _reopenable(citations: Sequence[Citation]) -> list[traces.Cited]:
    """Each citation once: a sentence may be the whole of its passage."""
    several = [
        traces.Cited(
            id=each.id,
            document=each.document,
            version=each.version_id,
            span=each.span,
            quote_digest=each.quote_digest,
        )
        for each in citations
    ]
    return [*{each.id: each for each in several}.values()]


def attest_decisions(
    ports: Ports, standing: Standing, *, request: Account, response: Account, grounds: Account
) -> TraceId:
    """Put on record what was decided for an application that enforces it, and say under which id."""
    trace = Trace(
        id=TraceId(f"tr_{ports.new_id()}"),
        at=standing.now,
        kind=TraceKind.DECISION,
        subject=standing.principal.subject.ref,
        actors=standing.principal.acting,
        proof=standing.principal.proof,
        outcome="answered",
        request=request,
        response=response,
        grounds={"epochs": asdict(standing.epochs), **grounds},
    )
    with writing(ports.engine) as session:
        traces.add_trace(session, trace)
    return trace.id


def record(
    ports: Ports,
    principal: Principal,
    kind: TraceKind,
    *,
    outcome: str,
    request: Mapping[str, Any],
    trace_id: TraceId | None = None,
) -> TraceId:
    """Put a read, a change or a refusal on record, and say under which id."""
    with writing(ports.engine) as session:
        return record_with(session, ports, principal, kind, outcome=outcome, request=request, trace_id=trace_id)


def record_with(
    session: Session,
    ports: Ports,
    principal: Principal,
    kind: TraceKind,
    *,
    outcome: str,
    request: Mapping[str, Any],
    trace_id: TraceId | None = None,
) -> TraceId:
    """As `record`, in the transaction of the change itself: both are there, or neither."""
    id = trace_id or TraceId(f"tr_{ports.new_id()}")
    trace = Trace(
        id=id,
        at=ports.now(),
        kind=kind,
        subject=principal.subject.ref,
        actors=principal.acting,
        proof=principal.proof,
        outcome=outcome,
        request=request,
        response={},
        grounds={},
    )
    traces.add_trace(session, trace)
    return id


def _asked(query: Query) -> dict[str, Any]:
    return {
        "query": query.text,
        "purpose": query.purpose,
        "client": query.client,
        "destination": query.destination,
        "collections": sorted(query.collections) if query.collections is not None else None,
        "top_k": query.top_k,
        "max_tokens": query.max_tokens,
        "as_of": query.as_of,
        "known_at": query.known_at,
        "filters": {name: list(values) for name, values in query.filters.items()},
        "mode": query.mode,
        "rerank": query.rerank,
        "expand": query.expand,
        "workflow": query.workflow,
        "decision": query.decision,
    } | ({"escalation": query.again.escalation, "asked_before": query.again.first} if query.again else {})


def asked_in(trace: Trace) -> Query:
    """The question that a trace of `retrieve` is of."""
    request = trace.request
    collections = request["collections"]
    return Query(
        text=request["query"],
        purpose=request["purpose"],
        client=request.get("client"),
        destination=request.get("destination"),
        collections=frozenset(collections) if collections is not None else None,
        top_k=request["top_k"],
        max_tokens=request["max_tokens"],
        as_of=request["as_of"],
        known_at=request["known_at"],
        filters={name: tuple(values) for name, values in request["filters"].items()},
        mode=Mode(request["mode"]),
        rerank=request.get("rerank", True),
        expand=request.get("expand", False),
        workflow=request["workflow"],
        decision=request["decision"],
    )


def _answered(answer: Answer) -> dict[str, Any]:
    return {
        "passages": [_shown(passage) for passage in answer.passages],
        "conflicts": [_contradicting(each) for each in answer.conflicts],
        "checks": [
            {
                "check": check.check,
                "outcome": check.outcome,
                "reason": check.reason,
                "policies": list(check.policies),
                "code": check.code,
            }
            for check in answer.checks
        ],
        "obligations": [{"id": each.id, "policies": list(each.policies)} for each in answer.obligations],
        "recourse": [each.collection or each.kind for each in answer.recourse],
        "usage": {
            "query_tokens": answer.usage.query_tokens,
            "context_tokens": answer.usage.context_tokens,
            "timings_ms": dict(answer.usage.timings_ms),
        },
    }


def _contradicting(conflict: Contradiction) -> dict[str, Any]:
    """Where passages contradict each other, without their words."""
    return {
        "passages": list(conflict.passages),
        "spans": [[span.start, span.end] for span in conflict.spans],
        "kind": conflict.kind,
        "preferred": conflict.preferred,
        "because": conflict.because,
    }


def _shown(passage: Passage) -> dict[str, Any]:
    citation = passage.citation
    return {
        "citation": citation.id,
        "document": citation.document,
        "version": citation.version,
        "digest": citation.digest,
        "span": [citation.span.start, citation.span.end],
        "quote_digest": citation.quote_digest,
        "score": passage.score,
        "level": passage.label.level.word,
        "categories": sorted(passage.label.categories),
        "boundary": passage.boundary_key,
        "flags": list(passage.flags),
        "redactions": [
            {"span": [each.span.start, each.span.end], "kind": each.kind, "category": each.category}
            for each in passage.redactions
        ],
    }


def _grounds(standing: Standing, reach: Reach, drops: Mapping[str, int]) -> dict[str, Any]:
    """What the decision rested on: enough to decide it again as of then."""
    epochs = reach.grounds.epochs
    return {
        "epochs": {
            "policies": epochs.policies,
            "directory": epochs.directory,
            "boundaries": epochs.boundaries,
            "grants": epochs.grants,
        },
        "generation": standing.epochs.generation,  # that was searched: another may be active at the last moment
        "grants": [each.id for each in reach.grounds.grants],
        "valid_at": reach.valid_at,
        "known_at": reach.known_at,
        "boundaries": {"allowed": len(reach.boundaries), "decided": len(reach.grounds.rulings)},
        "dropped": dict(drops),
    }


@contextmanager
def on_record_if_refused(ports: Ports, standing: Standing, what: str, about: Mapping[str, object]) -> Iterator[None]:
    """Let an attempt that fails be on record too, with the reason. `NotFound` and `NotPermitted` always are."""
    try:
        yield
    except (Conflict, Invalid) as refusal:
        record(
            ports,
            standing.principal,
            TraceKind.REFUSAL,
            outcome=refusal.kind,
            request={"what": what, **about, "refused": refusal.detail},
        )
        raise


def refused(
    ports: Ports, credentials: Credentials, error: MunimentError, trace_id: TraceId, *, method: str, path: str
) -> None:
    """Put a refusal on record, under whoever sent it if acting for somebody is what was refused.

    Who cannot be identified leaves none: strangers must not be able to fill the disk.
    """
    request = {"method": method, "path": path[:500], "on_behalf_of": credentials.on_behalf_of}
    for sent in (credentials, Credentials(bearer=credentials.bearer)):
        try:
            with reading(ports.engine) as session:
                principal = identify(ports, session, sent).principal
            record(ports, principal, TraceKind.REFUSAL, outcome=error.kind, request=request, trace_id=trace_id)
            return
        except (NotPermitted, Invalid):
            continue
        except MunimentError:
            return
