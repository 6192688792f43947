"""One question, answered with what its principal may read, cited, and with the checks that were applied."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.domain.access import Reach
from app.domain.answer import Answer, Query, Recourse, Usage
from app.domain.checks import Asked, applied, blocked, personal_data
from app.domain.citation import Passage, context, joined
from app.domain.recourse import EscalationKind
from app.domain.stopwatch import Stopwatch
from app.domain.trace import Outcome, TraceId
from app.operations import authorize, discharge, route
from app.operations.attest import attest
from app.operations.generations import answering
from app.operations.identify import Credentials, Standing, identify
from app.operations.inspect import inspect
from app.operations.reach import reach_of, systems_of_record
from app.operations.rerank import rerank
from app.operations.search import search
from app.operations.select import select
from app.ports import Ports
from app.store.database import reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer that is not yet on record, so that it must not leave, and the decision that it rests on."""

    answer: Answer
    standing: Standing
    reach: Reach
    drops: Mapping[str, int]


def retrieve(ports: Ports, credentials: Credentials, query: Query) -> Answer:
    """The answer to a question; a refusal is an answer too. Raises what `identify` does, `Invalid`, `Unavailable`.

    All of what `find` found is on record before anything leaves.
    """
    found = find(ports, credentials, query)
    # 8. attest
    return attest(ports, found.standing, query, found.reach, found.answer, drops=found.drops)


def find(
    ports: Ports,
    credentials: Credentials,
    query: Query,
    keep: Callable[[tuple[Passage, ...]], tuple[Passage, ...]] = lambda passages: passages,
) -> Found:
    """The answer to a question, before it is attested; `keep` says on which of the passages it is to rest.

    What holds when it returns:
    0. The principal was verified, today.
    1. Every passage lies in a boundary that a policy allowed for this principal and purpose; no error allowed one.
    2. Scores and order are a function of what lies within that reach.
    3. No two passages say the same, or nearly: the system of record speaks for its copies. The context fits the
       token budget.
    4. Each passage was decided again, on its boundary as SQL held it at the last moment, and its text has its digest.
    5. Each quote is byte for byte what is in its span.
    6. Every check that was applied is named.
    7. Every obligation was discharged; one that is unknown had turned its permit into a denial.
    """
    watch = Stopwatch()
    trace_id = TraceId(f"tr_{ports.new_id()}")

    with reading(ports.engine) as session:
        # 0. identify
        standing = identify(ports, session, credentials)
        ports = answering(ports, standing.epochs)
        laid_down = authorize.register(ports, session, standing)

        # 1. reach
        asked = authorize.asked(
            ports, session, standing, purpose=query.purpose, client=query.client, destination=query.destination
        )
        reach = reach_of(ports, session, standing, query, asked)
        recourse = _ways_to_ask(ports, session, standing, query)
        ways_forward = () if asked.allowed else route.ways_forward(ports, session, standing, asked, query, trace_id)
        records = systems_of_record(ports, session, standing)
    watch.lap("reach")

    if not asked.allowed:
        answer = Answer(
            trace_id=trace_id,
            outcome=Outcome.ESCALATED if asked.escalate_to else Outcome.BLOCKED,
            checks=blocked(laid_down.rules, asked, standing.principal),
            recourse=ways_forward,
            usage=_usage(ports, query, 0, watch),
        )
        return Found(answer=answer, standing=standing, reach=reach, drops={})

    # 2. search
    hits = search(ports, query, reach, watch)

    # 3. select, 4. confirm, 5. cite
    hits = rerank(ports, credentials, query, reach, hits, now=standing.now, watch=watch)
    selected = select(ports, credentials, query, reach, hits, now=standing.now, records=records)
    reach = selected.reach
    watch.lap("confirm")

    # 6. inspect what is to be shown: no more than an obligation allows, and what the answer is to rest on
    shown = selected.passages[: discharge.most_passages(selected.obligations)]
    kept = keep(shown)
    drops = {**selected.drops, **({"weak": len(shown) - len(kept)} if len(shown) > len(kept) else {})}
    inspected = inspect(query.text, kept, ruled=selected.ruled)
    passages = inspected.passages
    watch.lap("inspect")

    # 7. discharge: so many at the most, redacted before they were counted, cited by the context, told by what attests
    label, text = joined(passages), context(passages)
    answer = Answer(
        trace_id=trace_id,
        outcome=Outcome.ANSWERED if passages else Outcome.EMPTY,
        passages=passages,
        conflicts=inspected.conflicts,
        context=text,
        label=label,
        obligations=selected.obligations if passages else (),
        checks=applied(
            laid_down.rules,
            reach.grounds.question.principal,
            Asked(
                purpose=query.purpose,
                valid_at=reach.valid_at,
                known_at=query.known_at,
                ahead=reach.valid_at > standing.now,
                categories=reach.grounds.question.terms.purpose_categories,
            ),
            label,
            decided_by=frozenset(asked.policies) | selected.policies,
            intact="integrity" not in selected.drops,
            inspected=inspected.checks,
            personal_data=personal_data(passages, selected.obligations, label),
            grants=authorize.grants_in_play(reach, collections=query.collections),
        ),
        recourse=recourse,
        usage=_usage(ports, query, selected.tokens_of(passages), watch),
    )
    return Found(answer=answer, standing=standing, reach=reach, drops=drops)


def _ways_to_ask(ports: Ports, session: Session, standing: Standing, query: Query) -> tuple[Recourse, ...]:
    """Collections in question that may be known of and are not the principal's own to curate.

    INVARIANT: a function of the principal, the policies and the collections, never of what is in them: a pointer that
    appeared only when something hidden matched would tell that it exists.
    """
    collections = authorize.register(ports, session, standing).collections
    open_to = authorize.discoverable_collections(ports, session, standing)
    own = authorize.curated_collections(ports, session, standing)
    return tuple(
        Recourse(
            kind=EscalationKind.REQUEST_ACCESS,
            collection=name,
            title=collections[name].title,
            owners=tuple(sorted(collections[name].owners)),
            body={"kind": EscalationKind.REQUEST_ACCESS, "collection": name}
            | ({"purpose": query.purpose} if query.purpose else {}),
        )
        for name in sorted(open_to - own)
        if query.collections is None or name in query.collections
    )


def _usage(ports: Ports, query: Query, context_tokens: int, watch: Stopwatch) -> Usage:
    return Usage(
        query_tokens=ports.tokenizer.count(query.text),
        context_tokens=context_tokens,
        timings_ms=watch.laps_ms(),
    )
