"""What is blacked out of a passage before it leaves. Stored evidence, its digest and its span stay as they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.domain.corpus import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Spotted:
    """Something in a text that its label should know of, and that an obligation may have blacked out."""

    kind: str
    """What it is, in words for an owner, singular: `payment card`."""
    category: str
    """The category that it proposes: `pii`, `phi` or `secret`."""
    span: Span
    strong: bool
    """It proposes its category alone; the weak do so in numbers only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A part of a version's text that is not shown."""

    span: Span
    """In the canonical text."""
    kind: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A part of a version's text, with where in it the part begins."""

    text: str
    start: int

    def of(self, span: Span) -> str:
        """The text of a span that lies in it."""
        return self.text[span.start - self.start : span.end - self.start]


def redactions(excerpt: Excerpt, found: Iterable[Spotted], *, within: Span) -> tuple[Redaction, ...]:
    """What of the finds in an excerpt lies in the span, in order; those that overlap are one."""
    merged: list[Redaction] = []
    for each in sorted(found, key=lambda it: (it.span.start, -it.span.end)):
        start = max(within.start, excerpt.start + each.span.start)
        end = min(within.end, excerpt.start + each.span.end)
        if start >= end:
            continue
        if merged and start < merged[-1].span.end:
            last = merged.pop()
            span = Span(start=last.span.start, end=max(end, last.span.end))
            merged.append(Redaction(span=span, kind=last.kind, category=last.category))
        else:
            merged.append(Redaction(span=Span(start=start, end=end), kind=each.kind, category=each.category))
    return tuple(merged)


def redactions_within(span: Span, hidden: Iterable[Redaction]) -> tuple[Redaction, ...]:
    """What of these lies in the span."""
    clipped = (
        replace(each, span=Span(start=max(span.start, each.span.start), end=min(span.end, each.span.end)))
        for each in hidden
        if each.span.start < span.end and span.start < each.span.end
    )
    return tuple(clipped)


def redacted(excerpt: Excerpt, hidden: Sequence[Redaction]) -> str:
    """The excerpt's text with `[redacted: kind]` in the place of each."""
    shown: list[str] = []
    at = 0
    for each in hidden:
        start, end = each.span.start - excerpt.start, each.span.end - excerpt.start
        shown += [excerpt.text[at:start], f"[redacted: {each.kind}]"]
        at = end
    return "".join([*shown, excerpt.text[at:]])
