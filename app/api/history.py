"""Documents in time: corrections of validity, differences, rollback, supersession, reviews."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.credentials import Asking
from app.api.documents import DocumentRef, SubmittedOut, acknowledged, cursor_of, place_of
from app.api.ports import PortsOf
from app.api.problems import ASKED, SENT, problems
from app.api.wire import At, InstantIn, Name, Storable, Text, Title, Wire
from app.domain.corpus import DocumentId, RecordedPeriod, Review, Span
from app.domain.difference import Change, Hunk, SectionChange, readable
from app.domain.errors import Fault, Invalid
from app.domain.instants import Instant, Moment, iso, iso_or_none
from app.operations import compare, correct, revisit, roll_back, supersede
from app.operations.curate import UNSTATED, Correction
from app.operations.read import Place

routes = APIRouter(tags=["documents in time"], responses=ASKED)


class CorrectionIn(Wire):
    """What is to be otherwise; what is left out stays. `null` takes `valid_to` or `review_by` away."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"valid_from": "2026-01-31T00:00:00Z", "reason": "It was signed a month earlier."}
        }
    )
    valid_from: InstantIn | None = None
    valid_to: InstantIn | None = None
    review_by: InstantIn | None = None
    reason: Title

    def domain(self) -> Correction:
        stated = self.model_fields_set
        if "valid_from" in stated and self.valid_from is None:
            fault = Fault(detail="It cannot be null.", pointer="/valid_from")
            raise Invalid("Only valid_to and review_by can be taken away with null.", faults=(fault,))
        if stated == {"reason"}:
            raise Invalid("Nothing is stated that could be corrected: valid_from, valid_to or review_by.")
        return Correction(
            valid_from=self.valid_from if self.valid_from is not None else UNSTATED,
            valid_to=self.valid_to if "valid_to" in stated else UNSTATED,
            review_by=self.review_by if "review_by" in stated else UNSTATED,
            reason=self.reason,
        )


class InForceOut(BaseModel):
    version: int
    valid_from: str | None
    valid_to: str | None
    review_by: str | None
    never: bool = Field(description="It is valid at no time: another version has all of it.")


class TimelineOut(BaseModel):
    id: str
    versions: list[InForceOut]


class PeriodOut(BaseModel):
    ordinal: int
    valid_from: str | None
    valid_to: str | None
    review_by: str | None
    recorded_from: str
    recorded_to: str | None = Field(description="When something else was recorded; null while it holds.")
    recorded_by: str
    reason: str | None


class PeriodsOut(BaseModel):
    document_id: str
    version: int
    periods: list[PeriodOut]


@routes.patch(
    "/v1/documents/{id}/versions/{n}",
    summary="Correct when a version was valid",
    responses={**problems(404, 409), **SENT},
)
def patch_version(id: Text, n: int, body: CorrectionIn, asking: Asking, ports: PortsOf) -> TimelineOut:
    """For owners. The other versions are left the time that this one does not take; what it gives up goes to none.
    What was held before is kept: `known_at` still gives it. Answers with every version as it now stands."""
    found = correct.correct(ports, asking, DocumentId(id), n, body.domain())
    versions = [
        InForceOut(
            version=each.number,
            valid_from=iso_or_none(each.period.valid_from),
            valid_to=iso_or_none(each.period.valid_to),
            review_by=_iso(each.period.review_by),
            never=each.period.valid_from >= each.period.valid_to,
        )
        for each in found.versions
    ]
    return TimelineOut(id=id, versions=versions)


@routes.get(
    "/v1/documents/{id}/versions/{n}/periods",
    summary="Everything that was ever held of when a version was valid",
    responses=problems(404),
)
def get_periods(id: Text, n: int, asking: Asking, ports: PortsOf) -> PeriodsOut:
    """For owners: each period with both times, who recorded it and why; the first recorded first."""
    found = correct.periods(ports, asking, DocumentId(id), n)
    return PeriodsOut(document_id=id, version=n, periods=[_period(each) for each in found])


# -- Differences -------------------------------------------------------------------------------------------------------


class WordsOut(BaseModel):
    span: tuple[int, int] = Field(description="In code points of that version's canonical text; empty for a place.")
    text: str


class HunkOut(BaseModel):
    old: WordsOut
    new: WordsOut


class SideOut(BaseModel):
    section: list[str] = Field(description="Its headings, outermost first.")
    span: tuple[int, int]
    text: str | None = Field(description="Of a section that came or went; null where hunks say what changed.")


class SectionOut(BaseModel):
    change: Change
    old: SideOut | None
    new: SideOut | None
    hunks: list[HunkOut]
    coarse: bool = Field(description="Too long to be compared to the end: hunks may hold words that are the same.")


class DifferenceOut(BaseModel):
    document_id: str
    old_version: int
    new_version: int
    sections: list[SectionOut] = Field(description="What is not as it was, in the order of the new text.")
    unchanged: int = Field(description="How many sections are as they were.")
    coarse: bool


_AS_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@routes.get(
    "/v1/documents/{id}/diff",
    summary="What is different between two versions, by section",
    response_model=DifferenceOut,
    responses={**_AS_TEXT, **problems(404, 413)},
)
def get_diff(
    id: Text,
    asking: Asking,
    ports: PortsOf,
    at: At,
    old: Annotated[int | None, Query(alias="from", description="The number of the one version.")] = None,
    new: Annotated[int | None, Query(alias="to", description="The number of the other version.")] = None,
    from_as_of: Annotated[InstantIn | None, Query(description="Instead of `from`: what was in force then.")] = None,
    to_as_of: Annotated[InstantIn | None, Query(description="Instead of `to`: what was in force then.")] = None,
    purpose: Name | None = None,
    accept: Annotated[str | None, Header()] = None,
) -> DifferenceOut | PlainTextResponse:
    """Sections that were added, removed, moved or changed, and the words within them, with exact spans on both sides.
    404 unless both versions may be read. With `Accept: text/plain`, for a person to read."""
    places = [_end(old, from_as_of, at, "from"), _end(new, to_as_of, at, "to")]
    found = compare.compare(ports, asking, DocumentId(id), places[0], places[1], purpose=purpose)
    if accept is not None and "text/plain" in accept and "json" not in accept:
        return PlainTextResponse(readable(found.difference, found.old.text, found.new.text))
    return DifferenceOut(
        document_id=id,
        old_version=found.old.shown.version.number,
        new_version=found.new.shown.version.number,
        sections=[_section(each, found.old.text, found.new.text) for each in found.difference.sections],
        unchanged=found.difference.unchanged,
        coarse=found.difference.coarse,
    )


def _end(number: int | None, as_of: Instant | None, at: Moment, name: Literal["from", "to"]) -> Place:
    if (number is None) == (as_of is None):
        fault = Fault(detail=f"Give either {name} or {name}_as_of.", pointer=f"/query/{name}")
        raise Invalid("Say which two versions are to be compared.", faults=(fault,))
    return Place(number=number, at=at if as_of is None else Moment(as_of=as_of, known_at=at.known_at))


def _section(each: SectionChange, old: str, new: str) -> SectionOut:
    whole = each.change in (Change.ADDED, Change.REMOVED)
    return SectionOut(
        change=each.change,
        old=_side(each.old_section, each.old, old, whole=whole),
        new=_side(each.new_section, each.new, new, whole=whole),
        hunks=[_hunk(hunk, old, new) for hunk in each.hunks],
        coarse=each.coarse,
    )


def _side(section: tuple[str, ...] | None, span: Span | None, text: str, *, whole: bool) -> SideOut | None:
    if section is None or span is None:
        return None
    return SideOut(section=list(section), span=(span.start, span.end), text=span.of(text) if whole else None)


def _hunk(hunk: Hunk, old: str, new: str) -> HunkOut:
    return HunkOut(
        old=WordsOut(span=(hunk.old.start, hunk.old.end), text=hunk.old.of(old)),
        new=WordsOut(span=(hunk.new.start, hunk.new.end), text=hunk.new.of(new)),
    )


# -- Rollback and supersession -----------------------------------------------------------------------------------------


class RollbackBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"to": 1, "reason": "Version 2 was a draft."}})
    to: int = Field(ge=1, description="A version's number.")
    reason: Title


class SupersedeBody(Wire):
    model_config = ConfigDict(json_schema_extra={"example": {"by": "doc_ycm4hswkclbmkpkltlte2st7ae"}})
    by: Text = Field(description="The id of the document that takes its place.")
    begins: InstantIn | None = Field(
        default=None,
        description="From when on. Unset: from when the successor began, or now if the document began later.",
    )


class SupersededOut(BaseModel):
    id: str
    superseded_by: str
    begins: str | None


@routes.post(
    "/v1/documents/{id}/rollback",
    status_code=202,
    summary="Bring an earlier version back, as the next one",
    response_model=SubmittedOut,
    responses={
        200: {"model": SubmittedOut, "description": "Unchanged: that version is the newest"},
        201: {"model": SubmittedOut, "description": "Published in the time that `Prefer: wait` gave"},
        **problems(404, 409),
        **SENT,
    },
)
async def post_rollback(
    request: Request,
    response: Response,
    id: Text,
    body: RollbackBody,
    asking: Asking,
    ports: PortsOf,
    prefer: Annotated[str | None, Header()] = None,
) -> SubmittedOut | JSONResponse:
    """Valid from now, within the boundary of the newest version: nothing is opened by it. Answered as an upload is."""
    submitted = await run_in_threadpool(roll_back.roll_back, ports, asking, DocumentId(id), body.to, reason=body.reason)
    return await acknowledged(request, response, ports, asking, submitted, prefer=prefer)


@routes.post(
    "/v1/documents/{id}/supersede",
    summary="Let a document give way to another",
    responses={**problems(404, 409), **SENT},
)
def post_supersede(id: Text, body: SupersedeBody, asking: Asking, ports: PortsOf) -> SupersededOut:
    """For an owner of both. Its time ends there; as of before, it is found as ever."""
    begins = supersede.supersede(ports, asking, DocumentId(id), DocumentId(body.by), begins=body.begins)
    return SupersededOut(id=id, superseded_by=body.by, begins=iso_or_none(begins))


# -- Reviews -----------------------------------------------------------------------------------------------------------


class ReviewedBody(Wire):
    model_config = ConfigDict(
        json_schema_extra={"example": {"next": "2027-01-31T00:00:00Z", "note": "Still so, says Legal."}}
    )
    next: InstantIn | None = Field(
        default=None,
        description="When it is due again; null for never. Left out: after the collection's term, if it has one.",
    )
    note: Annotated[str, StringConstraints(max_length=2000), Storable] = ""


class ReviewedOut(DocumentRef):
    version: int
    review_by: str | None


class ReviewOut(BaseModel):
    version: int
    at: str
    by: str
    note: str
    next: str | None


class ReviewsOut(BaseModel):
    reviews: list[ReviewOut]


class DueOut(BaseModel):
    document_id: str
    uri: str
    title: str
    version: int
    review_by: str | None
    overdue: bool
    ask: list[str] = Field(description="The owners of the collection.")
    author: str | None
    last_review: ReviewOut | None


class DuePageOut(BaseModel):
    documents: list[DueOut]
    cursor: str | None = Field(description="Send it back to go on; null at the end.")


@routes.get(
    "/v1/collections/{name}/reviews",
    summary="What is to be reviewed, the longest overdue first",
    responses=problems(404),
)
def get_due(
    name: Name,
    asking: Asking,
    ports: PortsOf,
    overdue: Annotated[bool, Query(description="Only what is past its date.")] = False,
    within_days: Annotated[int, Query(ge=0, le=36_500)] = 30,
    cursor: Annotated[str, StringConstraints(max_length=4000)] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DuePageOut:
    """For owners: versions in force whose review date has passed, or comes within so many days."""
    page = revisit.due(
        ports,
        asking,
        name,
        overdue_only=overdue,
        within_days=within_days,
        after=_after(cursor) if cursor else None,
        limit=limit,
    )
    documents = [
        DueOut(
            document_id=each.version.document.id,
            uri=each.version.document.uri,
            title=each.version.title,
            version=each.version.number,
            review_by=_iso(each.version.period.review_by),
            overdue=each.overdue,
            ask=list(each.owners),
            author=each.version.source.author,
            last_review=_review(each.last) if each.last else None,
        )
        for each in page.due
    ]
    return DuePageOut(
        documents=documents, cursor=cursor_of((str(int(page.after[0])), page.after[1])) if page.after else None
    )


@routes.post(
    "/v1/documents/{id}/reviewed",
    summary="Put on record that a document was reviewed",
    responses={**problems(404, 409), **SENT},
)
def post_reviewed(id: Text, body: ReviewedBody, asking: Asking, ports: PortsOf) -> ReviewedOut:
    """Of the version in force, or the newest if none is."""
    stated = body.next if "next" in body.model_fields_set else UNSTATED
    version, again = revisit.reviewed(ports, asking, DocumentId(id), next=stated, note=body.note)
    return ReviewedOut(id=id, version=version, review_by=_iso(again))


@routes.get("/v1/documents/{id}/reviews", summary="Who reviewed a document, and when", responses=problems(404))
def get_reviews(id: Text, asking: Asking, ports: PortsOf) -> ReviewsOut:
    """For owners; the last first."""
    return ReviewsOut(reviews=[_review(each) for each in revisit.history(ports, asking, DocumentId(id))])


def _after(cursor: str) -> tuple[Instant, str]:
    date, uri = place_of(cursor)
    if not date.lstrip("-").isdecimal() or not date.isascii() or len(date) > 18:
        raise Invalid("That cursor is not one that was given out here. Begin again without one.")
    return Instant(int(date)), uri


def _period(each: RecordedPeriod) -> PeriodOut:
    period = each.period
    return PeriodOut(
        ordinal=period.ordinal,
        valid_from=iso_or_none(period.valid_from),
        valid_to=iso_or_none(period.valid_to),
        review_by=_iso(period.review_by),
        recorded_from=iso(period.recorded_from),
        recorded_to=iso_or_none(period.recorded_to),
        recorded_by=each.by,
        reason=each.reason,
    )


def _review(each: Review) -> ReviewOut:
    return ReviewOut(version=each.version, at=iso(each.at), by=each.by, note=each.note, next=_iso(each.next))


def _iso(instant: Instant | None) -> str | None:
    return None if instant is None else iso_or_none(instant)
