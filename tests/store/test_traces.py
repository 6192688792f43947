"""Traces and citations: they come back as they were written, and a page of them goes on where the last one ended."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from app.domain.access import PrincipalRef, Proof
from app.domain.citation import CitationId
from app.domain.corpus import Span, text_digest
from app.domain.instants import Instant, days_after
from app.domain.trace import Trace, TraceId, TraceKind
from app.store import traces
from app.store.database import reading, writing
from app.store.traces import Cited
from tests.conftest import STARTED_AT, Clock
from tests.store.building import Shelf
from tests.store.history import rows_of

ANA, BEN, BOT, OTHER_BOT = (PrincipalRef(ref) for ref in ("user:ana", "user:ben", "assistant:bot", "assistant:other"))
FULL = Trace(
    id=TraceId("tr_1"),
    at=STARTED_AT,
    kind=TraceKind.RETRIEVE,
    subject=ANA,
    actors=(BOT,),
    proof=Proof.ASSERTED,
    outcome="answered",
    request={"query": "¿Can we share it? 🤝 \u2028 \\u0041", "top_k": 8, "purpose": None, "filters": {}},
    response={"passages": [{"score": 0.1 + 0.2, "span": [0, 2**53]}], "checks": []},
    grounds={"epochs": {"policies": 1}, "dropped": {}},
)


def keep(engine: Engine, *some: Trace) -> None:
    with writing(engine) as session:
        for trace in some:
            traces.add_trace(session, trace)


def page(
    engine: Engine,
    of: tuple[PrincipalRef, tuple[PrincipalRef, ...]] | None,
    before: TraceId | None = None,
    limit: int = 100,
) -> list[str]:
    with reading(engine) as session:
        return [trace.id for trace in traces.traces(session, of=of, before=before, limit=limit)]


@pytest.mark.parametrize(
    "trace",
    [FULL, replace(FULL, kind=TraceKind.CHANGE, actors=(), proof=Proof.PROVEN, request={}, response={}, grounds={})],
    ids=["delegated", "plain"],
)
def test_trace_comes_back_as_it_was_written(engine: Engine, trace: Trace) -> None:
    keep(engine, trace)
    with reading(engine) as session:
        assert traces.trace(session, trace.id) == trace
        assert traces.trace(session, TraceId("tr_none")) is None


def test_questions_since_an_instant_come_newest_first_and_nothing_else(engine: Engine) -> None:
    asked = [replace(FULL, id=TraceId(f"tr_{n}"), at=Instant(STARTED_AT + n)) for n in range(500)]
    keep(engine, *asked, replace(FULL, id=TraceId("tr_read"), kind=TraceKind.READ, at=Instant(STARTED_AT + 600)))
    with reading(engine) as session:
        found = list(traces.retrievals(session, since=Instant(STARTED_AT + 10), limit=450))
    assert found == list(reversed(asked[50:]))


def test_trace_is_written_once_under_its_id(engine: Engine) -> None:
    keep(engine, FULL)
    with pytest.raises(IntegrityError):
        keep(engine, replace(FULL, outcome="empty"))
    with reading(engine) as session:
        assert traces.trace(session, FULL.id) == FULL


def test_traces_are_listed_newest_first_whatever_their_clock_said(engine: Engine) -> None:
    keep(engine, *(replace(FULL, id=TraceId(f"tr_{n}"), at=Instant(STARTED_AT - n)) for n in range(5)))
    assert page(engine, None) == ["tr_4", "tr_3", "tr_2", "tr_1", "tr_0"]


def test_traces_of_one_are_theirs_alone(engine: Engine) -> None:
    parties = [(ANA, ()), (ANA, (BOT,)), (BEN, (BOT,)), (BOT, ()), (ANA, (OTHER_BOT,)), (ANA, (OTHER_BOT, BOT))]
    keep(
        engine,
        *(
            replace(FULL, id=TraceId(f"tr_{n}"), subject=subject, actors=actors)
            for n, (subject, actors) in enumerate(parties)
        ),
    )
    assert page(engine, (ANA, ())) == ["tr_5", "tr_4", "tr_1", "tr_0"]
    assert page(engine, (ANA, (BOT,))) == ["tr_5", "tr_1"]
    assert page(engine, (ANA, (BOT, OTHER_BOT))) == ["tr_5"]
    assert page(engine, (ANA, (PrincipalRef("assistant:Bot"),))) == []
    assert page(engine, (ANA, (PrincipalRef("assistant:bo"),))) == []
    assert page(engine, (BEN, ())) == ["tr_2"]
    assert page(engine, (BOT, ())) == ["tr_3"]
    assert page(engine, (BOT, (BOT,))) == []


def test_pages_of_traces_follow_on_while_new_ones_are_written(engine: Engine) -> None:
    keep(engine, *(replace(FULL, id=TraceId(f"tr_{n}"), subject=(ANA, BEN)[n % 2]) for n in range(10)))
    first = page(engine, (ANA, ()), limit=2)
    keep(engine, replace(FULL, id=TraceId("tr_new")))
    second = page(engine, (ANA, ()), TraceId(first[-1]), limit=2)
    third = page(engine, (ANA, ()), TraceId(second[-1]), limit=2)
    assert (first, second, third) == (["tr_8", "tr_6"], ["tr_4", "tr_2"], ["tr_0"])
    assert page(engine, (ANA, ()), TraceId(third[-1]), limit=2) == []


def test_page_after_a_trace_that_does_not_exist_is_empty(engine: Engine) -> None:
    keep(engine, FULL)
    assert page(engine, None, TraceId("tr_none")) == []


def test_citation_comes_back_with_its_document(engine: Engine, clock: Clock) -> None:
    cited = _cited(engine, clock, 1)[0]
    with writing(engine) as session:
        traces.add_citations(session, [cited], at=clock.now())
        traces.add_citations(session, [], at=clock.now())
    with reading(engine) as session:
        assert traces.citation(session, cited.id) == cited
        assert traces.citation(session, CitationId("cit_none")) is None


def test_citing_again_changes_nothing(engine: Engine, clock: Clock) -> None:
    first, second, third = _cited(engine, clock, 3)
    with writing(engine) as session:
        traces.add_citations(session, [first, second], at=clock.now())
    before = rows_of(engine, "citations")
    with writing(engine) as session:
        traces.add_citations(session, [third, second, first, third], at=clock.now())
    after = rows_of(engine, "citations")
    assert {id: after[id] for id in before} == before
    assert set(after) == {first.id, second.id, third.id}


def test_citing_again_is_noted_a_day_later_and_not_before(engine: Engine, clock: Clock) -> None:
    old, new = _cited(engine, clock, 2)
    with writing(engine) as session:
        traces.add_citations(session, [old], at=STARTED_AT)
    (written,) = rows_of(engine, "citations").values()
    day = days_after(STARTED_AT, 1)
    with writing(engine) as session:
        traces.add_citations(session, [old], at=day)
    assert rows_of(engine, "citations") == {old.id: written}
    later = Instant(day + 1)
    with writing(engine) as session:
        traces.add_citations(session, [new, old], at=later)
    after = rows_of(engine, "citations")
    assert after[old.id] == written | {"cited_at": later}
    assert (after[new.id]["created_at"], after[new.id]["cited_at"]) == (later, later)


def test_citing_again_a_day_later_waits_for_nobody_who_notes_it_too(postgresql_engine: Engine, clock: Clock) -> None:
    first, second = _cited(postgresql_engine, clock, 2)
    with writing(postgresql_engine) as session:
        traces.add_citations(session, [first, second], at=STARTED_AT)
    earlier, later = days_after(STARTED_AT, 2), days_after(STARTED_AT, 3)
    with writing(postgresql_engine) as noting:
        traces.add_citations(noting, [first], at=earlier)
        with writing(postgresql_engine) as session:
            traces.add_citations(session, [first, second], at=later)
    after = rows_of(postgresql_engine, "citations")
    assert (after[first.id]["cited_at"], after[second.id]["cited_at"]) == (earlier, later)


def test_same_passages_cited_by_eight_at_once_hold_nobody_up(engine: Engine, clock: Clock) -> None:
    cited = _cited(engine, clock, 200)

    def cite(seed: int) -> None:
        shuffled = Random(seed).sample(cited, len(cited))
        with writing(engine) as session:
            traces.add_citations(session, shuffled, at=STARTED_AT)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(cite, range(24))) == [None] * 24
    assert set(rows_of(engine, "citations")) == {each.id for each in cited}


def _cited(engine: Engine, clock: Clock, count: int) -> list[Cited]:
    shelf = Shelf(engine, clock)
    staged = shelf.stage("x" * count)
    shelf.publish(staged)
    return [
        Cited(
            id=CitationId(f"cit_{n}"),
            document=staged.submission.document,
            version=staged.version,
            span=Span(start=n, end=n + 1),
            quote_digest=text_digest("x"),
        )
        for n in range(count)
    ]
