"""Sentences of the passages that answer a question, weighed by the model and by their words."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.domain.answering import (
    MAX_PASSAGES,
    Basis,
    Candidate,
    Term,
    Weighed,
    basis,
    most_promising,
    pieces,
    wanted,
    weighed,
    weights_of,
)
from app.domain.citation import CitationId, Passage, opaque
from app.domain.corpus import Span, text_digest
from app.domain.evidence import cosine
from app.domain.redaction import Excerpt, Redaction, redacted, redactions_within
from app.ports import Ports


def extract(ports: Ports, question: str, passages: Sequence[Passage]) -> tuple[list[Weighed], Basis]:
    """The sentences of the first passages as they are shown, each with how well it answers; and what that amounts to.

    What is blacked out is neither embedded nor compared: it moves nothing.
    """
    candidates = [each for passage in passages[:MAX_PASSAGES] for each in candidates_of(ports, passage)]
    contexts = [*{each.passage: each.context for each in candidates}.values()]
    asked = weights_of(question, _words(ports, question), contexts)
    some = most_promising(candidates, asked)
    by_itself = [each.shown for each in some]
    headed = [f"{each.heading}. {each.shown}" for each in some]
    near = cosines(ports, question, [*by_itself, *headed])
    means = [(one + other) / 2 for one, other in zip(near[: len(some)], near[len(some) :], strict=True)]
    measured = weighed(some, means, asked, wanted(question))
    return measured, basis(measured, asked, contexts)


def candidates_of(ports: Ports, passage: Passage) -> Iterator[Candidate]:
    """The sentences of a passage, in order, each citable by itself."""
    citation = passage.citation
    headings = _terms(ports, " ".join([citation.title, *citation.section]))
    context = _terms(ports, "\n".join([citation.title, *citation.section, passage.text]))
    # a heading says what is asked, and answers nothing
    some = [each for each in _sentences(passage) if not (citation.section and each[1] == citation.section[-1])]
    said = [_terms(ports, shown) for *_, shown in some]
    for at, (span, quote, hidden, shown) in enumerate(some):
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
            heading=citation.section[-1] if citation.section else citation.title,
            terms=said[at],
            near=headings.union(*said[max(0, at - 1) : at + 2]),
            context=context,
        )


def _sentences(passage: Passage) -> Iterator[tuple[Span, str, tuple[Redaction, ...], str]]:
    """Each with its span, quote, what of it is blacked out, and what is shown of it."""
    citation = passage.citation
    for within in pieces(citation.quote):
        span = Span(start=citation.span.start + within.start, end=citation.span.start + within.end)
        quote = within.of(citation.quote)
        hidden = redactions_within(span, passage.redactions)
        yield span, quote, hidden, redacted(Excerpt(text=quote, start=span.start), hidden)


def cosines(ports: Ports, question: str, texts: Sequence[str]) -> list[float]:
    """How near each text is to the question."""
    if not texts:
        return []
    asked = ports.embedder.embed_queries([question])[0]
    return [cosine(asked, each) for each in ports.embedder.embed_passages(texts)]


def _words(ports: Ports, question: str) -> list[tuple[str, dict[Term, float]]]:
    return [(word, dict(zip(said.terms, said.weights, strict=True))) for word, said in ports.analyzer.asked(question)]


def _terms(ports: Ports, text: str) -> frozenset[Term]:
    return frozenset(ports.analyzer.passage(text).terms)
