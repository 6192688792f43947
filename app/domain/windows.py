"""A passage grown by what is around it: neighbouring chunks of a version that become one span, quoted exactly. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from app.domain.citation import Citation, CitationId, opaque
from app.domain.corpus import Box, ChunkId, Digest, Span, VersionId, boxes_by_page, text_digest
from app.domain.redaction import Excerpt

WIDEST: Final = 2
"""Chunks that a passage grows by to each side of one that matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A chunk with its place among its version's, and with the text around it."""

    chunk: ChunkId
    version: VersionId
    ordinal: int
    tokens: int
    span: Span
    digest: Digest
    """Of its text when it was published."""
    page: int | None
    boxes: tuple[Box, ...]
    section: tuple[str, ...]
    around: Excerpt

    @property
    def place(self) -> tuple[VersionId, int]:
        return self.version, self.ordinal

    @property
    def text(self) -> str:
        return self.around.of(self.span)

    @property
    def intact(self) -> bool:
        return text_digest(self.text) == self.digest


def follows(after: Part, before: Part) -> bool:
    """Whether the one goes on where the other ends: the same version and section, and white space at most between."""
    gap = Span(start=before.span.end, end=max(before.span.end, after.span.start))
    return (
        (after.version, after.section) == (before.version, before.section)
        and after.ordinal == before.ordinal + 1
        and before.span.end <= after.span.start
        and after.around.start <= gap.start
        and not after.around.of(gap).strip()
    )


def stitched(parts: Sequence[Part]) -> Excerpt:
    """The text of parts that follow each other, with what is around the first and the last."""
    text, end = parts[0].around.text, parts[0].around.start + len(parts[0].around.text)
    for part in parts[1:]:
        text += part.around.text[max(0, end - part.around.start) :]
        end = max(end, part.around.start + len(part.around.text))
    return Excerpt(text=text, start=parts[0].around.start)


def wider(citation: Citation, parts: Sequence[Part], *, pepper: bytes) -> Citation:
    """The citation of all that these parts span, which follow each other and are intact; of one, it is as it was."""
    span = Span(start=parts[0].span.start, end=parts[-1].span.end)
    quote = stitched(parts).of(span)
    return replace(
        citation,
        id=CitationId(opaque("cit", f"{citation.version_id}:{span.start}:{span.end}", pepper=pepper)),
        span=span,
        quote=quote,
        quote_digest=text_digest(quote),
        page=next((part.page for part in parts if part.page is not None), None),
        boxes=boxes_by_page(_boxes(parts)),
    )


def _boxes(parts: Sequence[Part]) -> Iterable[Box]:
    return (box for part in parts for box in part.boxes)
