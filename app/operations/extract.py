"""Sentences of the passages that answer a question, weighed by the model and by their words."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.domain.answering import (
    MAX_PASSAGES,
    Candidate,
    Evidence,
    Term,
    Weighed,
    evidence,
    most_promising,
    pieces,
    rarities,
    wanted,
    weighed,
)
from app.domain.citation import CitationId, Passage, opaque
from app.domain.corpus import Span, text_digest
from app.domain.evidence import cosine
from app.domain.redaction import Excerpt, redacted, redactions_within
from app.ports import Ports


def extract(ports: Ports, question: str, passages: Sequence[Passage]) -> tuple[list[Weighed], Evidence]:
    """The sentences of the first passages as they are shown, each with how well it answers; and what that amounts to.

    What is blacked out is neither embedded nor compared: it moves nothing.
    """
    asked = _terms(ports, question, asked=True)
    candidates = [each for passage in passages[:MAX_PASSAGES] for each in candidates_of(ports, passage)]
    contexts = {each.passage: each.context for each in candidates}
    weights = rarities(asked, [*contexts.values()])
    some = most_promising(candidates, weights)
    measured = weighed(some, cosines(ports, question, [each.shown for each in some]), weights, wanted(question))
    return measured, evidence(measured, weights)


def candidates_of(ports: Ports, passage: Passage) -> Iterator[Candidate]:
    """The sentences of a passage, in order, each citable by itself."""
    citation = passage.citation
    context = _terms(ports, "\n".join([citation.title, *citation.section, passage.text]))
    for within in pieces(citation.quote):
        span = Span(start=citation.span.start + within.start, end=citation.span.start + within.end)
        quote = within.of(citation.quote)
        if citation.section and quote == citation.section[-1]:
            continue  # a heading says what is asked, and answers nothing
        hidden = redactions_within(span, passage.redactions)
        shown = redacted(Excerpt(text=quote, start=span.start), hidden)
        yield Candidate(
            passage=passage.rank,
            citation=replace(
                citation,
                id=CitationId(opaque("cit", f"{citation.version_id}:{span.start}:{span.end}", pepper=ports.pepper)),
                span=span,
                quote=quote,
                quote_digest=text_digest(quote),
            ),
            shown=shown,
            redactions=hidden,
            terms=_terms(ports, shown),
            context=context,
        )


def cosines(ports: Ports, question: str, texts: Sequence[str]) -> list[float]:
    """How near each text is to the question."""
    if not texts:
        return []
    asked = ports.embedder.embed_queries([question])[0]
    return [cosine(asked, each) for each in ports.embedder.embed_passages(texts)]


def _terms(ports: Ports, text: str, *, asked: bool = False) -> frozenset[Term]:
    return frozenset((ports.analyzer.query(text) if asked else ports.analyzer.passage(text)).terms)
