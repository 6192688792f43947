"""Golden questions of a collection, stated by its owners, and evaluations by them: run, kept, looked at again.

INVARIANT: who evaluates learns nothing that it may not read. A question that is asked as somebody else reaches what
both may read, of this collection alone (`Credentials.about`); a document that one may not know of is expected nowhere;
and what came out is shown only to whoever may read all that it could have come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from threading import Lock

from sqlalchemy.orm import Session

from app.domain.access import Action, BoundaryId
from app.domain.answer import Query
from app.domain.corpus import DocumentId
from app.domain.errors import Conflict, Fault, Invalid, NotFound, RateLimited
from app.domain.evaluation import differences
from app.domain.golden import Evaluation, Expected, GoldenQuestion, Kept
from app.domain.metrics import Difference
from app.domain.trace import TraceKind
from app.operations import authorize
from app.operations.attest import attest, on_record_if_refused, record_with
from app.operations.identify import Credentials, Standing, identify
from app.operations.reach import reach_of
from app.operations.read import _View
from app.operations.retrieve import find
from app.operations.submit import curated
from app.ports import Ports
from app.store import directory, golden, publishing
from app.store.database import reading, writing

MAX_QUESTIONS = 200
"""Of a collection, that an owner sees: some ten seconds' work, while whoever asked for it waits."""
PASSAGES = 50
"""Of each answer: recall is told up to so many."""

ABSENT = "There is no golden question by that name that you may see."
NO_EVALUATION = "There is no evaluation by that id that you may see."
_UNKNOWN_DOCUMENT = "It is not in this collection, or not for you to know of."


@dataclass(frozen=True, slots=True, kw_only=True)
class Expecting:
    """A document as a request names it: by its uri or by its id."""

    uri: str | None
    document: DocumentId | None
    version: int | None
    says: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An evaluation, and how far it differs from the one before that the principal may see."""

    evaluation: Evaluation
    before: str | None
    differences: Mapping[str, Difference]


def put_question(
    ports: Ports, credentials: Credentials, collection: str, stated: GoldenQuestion, expecting: Sequence[Expecting]
) -> GoldenQuestion:
    """State a question, or state otherwise the one of its name that the principal sees.

    INVARIANT: what others stated and is hidden from the principal neither is replaced nor counts. Names are therefore
    each owner's own.

    Raises what `curated` does, `Invalid`, and `Conflict` if the principal sees as many as there may be.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
    by = standing.principal.subject.ref
    about = {"collection": collection, "question": stated.name}
    with on_record_if_refused(ports, standing, "state-golden-question", about):
        with reading(ports.engine) as session:
            new = replace(stated, by=by, expects=_expected(ports, session, standing, collection, expecting))
            _check(ports, session, standing, new)
            seen = _visible(ports, session, standing, golden.questions(session, collection))
        held = _meant(standing, [each for each in seen if each.name == new.name])
        if held is None and len(seen) >= MAX_QUESTIONS:
            raise Conflict(f"A collection has {MAX_QUESTIONS} golden questions at the most. Remove one first.")
        with writing(ports.engine) as session:
            if held is not None:
                golden.remove_question(session, collection, held)
            golden.keep_question(session, collection, new, at=standing.now, by=by)
            request = {"what": "state-golden-question", **about, "who": new.who}
            record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
    return new


def questions(ports: Ports, credentials: Credentials, collection: str) -> list[GoldenQuestion]:
    """Those that the principal may see, by name, to an owner of the collection."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        return _visible(ports, session, standing, golden.questions(session, collection))


def question(ports: Ports, credentials: Credentials, collection: str, name: str) -> GoldenQuestion:
    """Raises `NotFound` for one that is absent, or that expects what the principal may not know of."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        return _one(ports, session, standing, collection, name)


def remove_question(ports: Ports, credentials: Credentials, collection: str, name: str) -> None:
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        gone = _one(ports, session, standing, collection, name)
    with writing(ports.engine) as session:
        golden.remove_question(session, collection, gone)
        request = {"what": "remove-golden-question", "collection": collection, "question": name}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)


_ONE_AT_A_TIME = Lock()


def evaluate(ports: Ports, credentials: Credentials, collection: str) -> Compared:
    """Ask all golden questions that the principal may see, and keep what comes of it.

    Raises what `curated` does, `Invalid` if there is no question, and `RateLimited` while another evaluation goes on
    in this process.
    """
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        asked = _visible(ports, session, standing, golden.questions(session, collection))
    id = f"ev_{ports.new_id()}"
    with on_record_if_refused(ports, standing, "evaluate", {"collection": collection}):
        if not asked:
            raise Invalid("There is no golden question to ask. State some first: PUT .../questions/{id}.")
        if not _ONE_AT_A_TIME.acquire(blocking=False):
            raise RateLimited("Another evaluation goes on here. Ask again when it is done.")
        try:
            reached = {
                purpose: _reached(ports, credentials, collection, purpose)
                for purpose in dict.fromkeys(each.purpose for each in asked)
            }
            kept = []
            for each in asked:
                result, searched = _kept(ports, credentials, standing, collection, id, each)
                kept.append(result)
                reached[each.purpose] |= searched  # of what was put in meanwhile too
        finally:
            _ONE_AT_A_TIME.release()
    made = Evaluation(
        id=id,
        collection=collection,
        at=standing.now,
        by=standing.principal.subject.ref,
        ranking=asdict(ports.ranking) | {"reranked": ports.reranker is not None},
        model=ports.embedder.fingerprint,
        reached=reached,
        kept=tuple(kept),
    )
    with writing(ports.engine) as session:
        golden.add_evaluation(session, made)
        request = {"what": "evaluate", "collection": collection, "evaluation": id, "questions": len(asked)}
        record_with(session, ports, standing.principal, TraceKind.CHANGE, outcome="changed", request=request)
    return evaluation(ports, credentials, collection, id)


def evaluations(ports: Ports, credentials: Credentials, collection: str, *, limit: int) -> list[Evaluation]:
    """The newest that the principal may see, to an owner of the collection."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        found = golden.evaluations(session, collection)
        return [each for each in found if _may_see(ports, session, standing, each)][:limit]


def evaluation(ports: Ports, credentials: Credentials, collection: str, id: str) -> Compared:
    """Raises `NotFound` for one that is absent, or that came from what the principal may not read."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        curated(ports, session, standing, collection)
        found = golden.evaluation(session, collection, id)
        if found is None or not _may_see(ports, session, standing, found):
            raise NotFound(NO_EVALUATION)
        earlier = golden.evaluations(session, collection, before=id)
        before = next((each for each in earlier if _may_see(ports, session, standing, each)), None)
    return Compared(
        evaluation=found,
        before=before.id if before else None,
        differences=differences(found.comparable(), before.comparable()) if before else {},
    )


def _kept(
    ports: Ports, credentials: Credentials, standing: Standing, collection: str, id: str, each: GoldenQuestion
) -> tuple[Kept, frozenset[BoundaryId]]:
    """The result of a question, on record, and all that it rests on."""
    who = each.who or standing.principal.subject.ref
    query = Query(
        text=each.question,
        purpose=each.purpose,
        collections=frozenset({collection}),
        as_of=each.as_of,
        top_k=PASSAGES,
        workflow=id,
        decision=each.name,
    )
    found = find(ports, replace(credentials, about=who), query)
    answer = attest(ports, found.standing, query, found.reach, found.answer, drops=found.drops)
    ms = answer.usage.timings_ms["total"] - answer.usage.timings_ms.get("embed", 0.0)
    kept = Kept(scored=each.scored(answer.passages, who=who, ms=ms), stated=each.stated)
    return kept, found.searched.boundaries


def _reached(ports: Ports, credentials: Credentials, collection: str, purpose: str | None) -> frozenset[BoundaryId]:
    """What the principal itself may read of the collection for a purpose: all that any of its questions is about."""
    with reading(ports.engine) as session:
        standing = identify(ports, session, credentials)
        asked = authorize.asked(ports, session, standing, purpose=purpose)
        query = Query(text="", purpose=purpose, collections=frozenset({collection}))
        return reach_of(ports, session, standing, query, asked).boundaries


def _may_see(ports: Ports, session: Session, standing: Standing, found: Evaluation) -> bool:
    purposes = authorize.register(ports, session, standing).purposes
    return all(
        (purpose is None or purpose in purposes)
        and boundaries <= authorize.reach(ports, session, standing, purpose=purpose).boundaries
        for purpose, boundaries in found.reached.items()
    )


def _expected(
    ports: Ports, session: Session, standing: Standing, collection: str, expecting: Sequence[Expecting]
) -> tuple[Expected, ...]:
    """Raises `Invalid` for a document that is not in the collection or not for the principal to know of: one fault."""
    view = _View.under(ports, session, standing, Action.DESCRIBE, None)
    made, faults = [], []
    for number, each in enumerate(expecting):
        found = each.document
        if each.uri is not None:
            row = publishing.document_row(session, collection=collection, uri=each.uri)
            found = row[1] if row else None
        shown = view.of_document(session, found) if found is not None else []
        if found is None or not shown or shown[0].version.document.collection != collection:
            faults.append(Fault(detail=_UNKNOWN_DOCUMENT, pointer=f"/expects/{number}"))
        elif each.version is not None and each.version not in {one.version.number for one in shown}:
            faults.append(Fault(detail="It has no such version.", pointer=f"/expects/{number}/version"))
        else:
            made.append(Expected(document=found, version=each.version, says=each.says))
    if faults:
        raise Invalid("Some documents cannot be expected.", faults=tuple(faults))
    return tuple(made)


def _check(ports: Ports, session: Session, standing: Standing, new: GoldenQuestion) -> None:
    faults = []
    if new.who is not None and directory.missing(session, [new.who]):
        faults.append(Fault(detail=f"{new.who} is not in the directory.", pointer="/who"))
    if new.purpose is not None and new.purpose not in authorize.register(ports, session, standing).purposes:
        faults.append(Fault(detail="Not a registered purpose: see GET /v1/purposes.", pointer="/purpose"))
    if new.unanswerable == bool(new.expects):
        detail = "Say what is expected, or that it is unanswerable, and not both."
        faults.append(Fault(detail=detail, pointer="/expects"))
    if faults:
        raise Invalid("The question cannot be asked so.", faults=tuple(faults))


def _one(ports: Ports, session: Session, standing: Standing, collection: str, name: str) -> GoldenQuestion:
    found = _meant(standing, _visible(ports, session, standing, golden.questions(session, collection, name)))
    if found is None:
        raise NotFound(ABSENT)
    return found


def _meant(standing: Standing, of_one_name: Sequence[GoldenQuestion]) -> GoldenQuestion | None:
    """Which of those that the principal sees its name means: the principal's own, or else the one first stated."""
    own = standing.principal.subject.ref
    return next((each for each in of_one_name if each.by == own), next(iter(of_one_name), None))


def _visible(
    ports: Ports, session: Session, standing: Standing, several: Sequence[GoldenQuestion]
) -> list[GoldenQuestion]:
    """Those of which the principal may know every document that they expect, and whose purpose is registered still."""
    view = _View.under(ports, session, standing, Action.DESCRIBE, None)
    purposes = authorize.register(ports, session, standing).purposes
    documents = {expected.document for each in several for expected in each.expects}
    known = {document for document in documents if view.of_document(session, document)}
    return [
        each
        for each in several
        if (each.purpose is None or each.purpose in purposes) and all(one.document in known for one in each.expects)
    ]
