"""Passages grown by what is around them: an exact quote of a wider span."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.domain.citation import Citation, cited
from app.domain.corpus import Box, ChunkId, Span, StoredChunk, VersionId, text_digest
from app.domain.redaction import Excerpt
from app.domain.windows import Part, follows, stitched, wider
from tests.domain.test_citation import chunk

PEPPER = b"pepper"
AROUND = 5
pieces = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1), min_size=1)
gaps = st.sampled_from(["", " ", "\n", "\n\n"])


def parts(text: str, spans: list[Span], *, around: int = AROUND) -> list[Part]:
    return [
        Part(
            chunk=ChunkId(at + 1),
            version=VersionId(1),
            ordinal=at,
            tokens=1,
            span=span,
            digest=text_digest(span.of(text)),
            page=at + 1,
            boxes=(Box(page=1, x0=at, y0=0, x1=at + 1, y1=1),),
            section=("A",),
            around=Excerpt(
                text=text[max(0, span.start - around) : span.end + around], start=max(0, span.start - around)
            ),
        )
        for at, span in enumerate(spans)
    ]


@given(said=pieces, between=st.lists(gaps, min_size=50, max_size=50), data=st.data())
def test_quote_of_a_grown_passage_is_what_is_in_its_span(
    said: list[str], between: list[str], data: st.DataObject
) -> None:
    text, spans = "", []
    for piece, gap in zip(said, between, strict=False):
        spans.append(Span(start=len(text), end=len(text) + len(piece)))
        text += piece + gap
    all_of_them = parts(text, spans)
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, len(spans) - 1))
    run = all_of_them[first : last + 1]
    assert all(part.intact for part in run)
    assert all(follows(after, before) for before, after in pairwise(run))
    whole = stitched(run)
    assert whole.text == text[whole.start : whole.start + len(whole.text)]
    grown = wider(citation(), run, pepper=PEPPER)
    assert grown.quote == grown.span.of(text)
    assert grown.span == Span(start=spans[first].start, end=spans[last].end)
    assert grown.quote_digest == text_digest(grown.quote)
    assert (grown.page, len(grown.boxes)) == (first + 1, 1)


def citation() -> Citation:
    return cited(stored(), pepper=PEPPER, ends=stored().valid_to)


def stored() -> StoredChunk:
    return chunk("Some text.")


def test_only_what_goes_on_in_the_same_section_of_the_same_version_follows() -> None:
    text = "One. Two. And then three."
    one, two, three = parts(text, [Span(start=0, end=4), Span(start=5, end=9), Span(start=19, end=25)], around=50)
    assert follows(two, one)
    assert not follows(one, two)
    assert not follows(three, two)  # there are words between
    assert not follows(replace(two, section=("B",)), one)
    assert not follows(replace(two, version=VersionId(2)), one)
    assert not follows(replace(two, ordinal=2), one)


def test_grown_citation_has_the_id_of_its_span_and_one_chunk_keeps_its_own() -> None:
    found = stored()
    own = Part(
        chunk=found.id,
        version=found.version_id,
        ordinal=0,
        tokens=1,
        span=found.span,
        digest=found.digest,
        page=found.page,
        boxes=found.boxes,
        section=found.section,
        around=Excerpt(text=found.text, start=found.span.start),
    )
    assert wider(citation(), [own], pepper=PEPPER).id == citation().id


def test_part_whose_text_was_changed_is_not_intact() -> None:
    (part,) = parts("One.", [Span(start=0, end=4)])
    assert not replace(part, around=Excerpt(text="Two.", start=0)).intact
