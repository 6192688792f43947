"""Golden questions of collections, evaluations by them, and documents that no answer cited."""

from collections.abc import Iterable
from dataclasses import asdict

from sqlalchemy import and_, delete, func, select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from app.domain.access import BoundaryId, PrincipalRef
from app.domain.corpus import DocumentId, VersionId
from app.domain.evaluation import Scored
from app.domain.golden import Evaluation, Expected, GoldenQuestion, Kept
from app.domain.instants import Instant
from app.store.corpus import in_force
from app.store.recorded import holds
from app.store.tables import (
    CitationRow,
    DocumentRow,
    EvaluationRow,
    GoldenQuestionRow,
    PeriodRow,
    VersionBoundaryRow,
    VersionRow,
)


def questions(session: Session, collection: str, name: str | None = None) -> list[GoldenQuestion]:
    """A collection's golden questions, or those of one name, by name; of one name, the one first stated first."""
    rows = select(GoldenQuestionRow).where(col(GoldenQuestionRow.collection) == collection)
    if name is not None:
        rows = rows.where(col(GoldenQuestionRow.name) == name)
    in_order = (GoldenQuestionRow.name, GoldenQuestionRow.stated_at, GoldenQuestionRow.stated_by)
    return [_question(row) for row in session.scalars(rows.order_by(*(col(each) for each in in_order)))]


def keep_question(session: Session, collection: str, new: GoldenQuestion, *, at: Instant, by: PrincipalRef) -> None:
    """Let it be asked from now on, in place of the one of its name by the same principal."""
    session.merge(
        GoldenQuestionRow(
            collection=collection,
            name=new.name,
            question=new.question,
            who=new.who,
            purpose=new.purpose,
            as_of=new.as_of,
            expects=[asdict(each) for each in new.expects],
            slice=new.slice,
            unanswerable=new.unanswerable,
            stated_at=at,
            stated_by=by,
        )
    )


def remove_question(session: Session, collection: str, gone: GoldenQuestion) -> None:
    session.execute(
        delete(GoldenQuestionRow).where(
            col(GoldenQuestionRow.collection) == collection,
            col(GoldenQuestionRow.name) == gone.name,
            col(GoldenQuestionRow.stated_by) == gone.by,
        )
    )


def forget(session: Session, document: int) -> None:
    """Remove the golden questions that expect a document: they say what is in it."""
    row = session.get_one(DocumentRow, document)
    for each in questions(session, row.collection):
        if any(expected.document == row.public_id for expected in each.expects):
            remove_question(session, row.collection, each)


def add_evaluation(session: Session, new: Evaluation) -> None:
    session.add(
        EvaluationRow(
            id=new.id,
            collection=new.collection,
            at=new.at,
            by=new.by,
            ranking=dict(new.ranking),
            model=new.model,
            reached=[{"purpose": purpose, "boundaries": sorted(ids)} for purpose, ids in new.reached.items()],
            scored=[{**asdict(each.scored), "stated": each.stated} for each in new.kept],
        )
    )


def evaluations(
    session: Session, collection: str, *, before: str | None = None, limit: int | None = None
) -> list[Evaluation]:
    """The newest first; `before` is the id of one."""
    query = select(EvaluationRow).where(col(EvaluationRow.collection) == collection)
    if before is not None:
        place = select(col(EvaluationRow.seq)).where(col(EvaluationRow.id) == before).scalar_subquery()
        query = query.where(col(EvaluationRow.seq) < func.coalesce(place, 0))
    return [_evaluation(row) for row in session.scalars(query.order_by(col(EvaluationRow.seq).desc()).limit(limit))]


def evaluation(session: Session, collection: str, id: str) -> Evaluation | None:
    wanted = select(EvaluationRow).where(col(EvaluationRow.collection) == collection, col(EvaluationRow.id) == id)
    row = session.scalars(wanted).first()
    return _evaluation(row) if row else None


def uncited(
    session: Session,
    collection: str,
    boundaries: Iterable[BoundaryId],
    *,
    since: Instant,
    now: Instant,
    after: str | None,
    limit: int,
) -> list[tuple[str, VersionId]]:
    """Versions in force within these boundaries of documents that were not cited since then, by uri, newest first."""
    any_version = aliased(VersionRow)
    cited = (
        select(col(CitationRow.id))
        .join(any_version, col(any_version.id) == col(CitationRow.version_id))
        .where(col(any_version.document_id) == col(DocumentRow.id), col(CitationRow.cited_at) >= since)
    )
    query = (
        select(col(DocumentRow.uri), col(VersionRow.id))
        .select_from(DocumentRow)
        .join(VersionRow, col(VersionRow.document_id) == col(DocumentRow.id))
        .join(PeriodRow, and_(col(PeriodRow.version_id) == col(VersionRow.id), holds(PeriodRow)))
        .join(
            VersionBoundaryRow,
            and_(col(VersionBoundaryRow.version_id) == col(VersionRow.id), holds(VersionBoundaryRow)),
        )
        .where(
            col(DocumentRow.collection) == collection,
            in_force(now),
            col(VersionBoundaryRow.boundary_id).in_(set(boundaries)),
            ~cited.exists(),
        )
    )
    if after is not None:
        query = query.where(col(DocumentRow.uri) > after)
    rows = session.execute(query.order_by(col(DocumentRow.uri), col(VersionRow.number).desc()).limit(limit))
    return [(uri, VersionId(version or 0)) for uri, version in rows]


def _question(row: GoldenQuestionRow) -> GoldenQuestion:
    return GoldenQuestion(
        name=row.name,
        question=row.question,
        by=PrincipalRef(row.stated_by),
        who=PrincipalRef(row.who) if row.who is not None else None,
        purpose=row.purpose,
        as_of=Instant(row.as_of) if row.as_of is not None else None,
        expects=tuple(
            Expected(document=DocumentId(each["document"]), version=each["version"], says=each["says"])
            for each in row.expects
        ),
        slice=row.slice,
        unanswerable=row.unanswerable,
    )


def _evaluation(row: EvaluationRow) -> Evaluation:
    return Evaluation(
        id=row.id,
        collection=row.collection,
        at=Instant(row.at),
        by=PrincipalRef(row.by),
        ranking=row.ranking,
        model=row.model,
        reached={each["purpose"]: frozenset(map(BoundaryId, each["boundaries"])) for each in row.reached},
        kept=tuple(
            Kept(
                scored=Scored(**{name: value for name, value in each.items() if name != "stated"}),
                stated=each["stated"],
            )
            for each in row.scored
        ),
    )
