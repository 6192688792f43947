"""Chunks: exact spans that cover the text, within the model's reach, along the document's own joints."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.corpus import Box, Chunk, Element, ElementKind, Parsed, Span, embedded_text
from ingest.blocks import Block, assembled, paragraph, title
from ingest.chunking import LEAST_TOKENS, MAX_CHARS, MAX_TOKENS, MODEL_MARKS, TARGET_TOKENS, chunks


class Words:
    """Words and marks, long words in pieces of four letters, as a word-piece tokenizer has them."""

    def __init__(self, *, max_tokens: int = 256, longest_word: int = 1_000_000) -> None:
        self.max_tokens = max_tokens
        self.chars_seen = 0
        self._longest_word = longest_word

    def offsets(self, text: str) -> list[tuple[int, int]]:
        self.chars_seen += len(text)
        found: list[tuple[int, int]] = []
        for word in re.finditer(r"\w+|[^\w\s]", text):
            if word.end() - word.start() > self._longest_word:
                found.append(word.span())
                continue
            starts = range(word.start(), word.end(), 4)
            found.extend((start, min(start + 4, word.end())) for start in starts)
        return found

    def count(self, text: str) -> int:
        return len(self.offsets(text))

    def known(self, text: str) -> float:
        return 1.0


class Deaf(Words):
    """Makes nothing of anything."""

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return []


WORDS = st.text(st.sampled_from("abcXYZ é語😀.!?,-\n\t|0"), min_size=1, max_size=60)
TEXTS = st.one_of(
    WORDS,
    st.lists(WORDS, min_size=5, max_size=40).map(" ".join),
    st.builds(lambda text, times: text * times, WORDS, st.integers(1, 120)),
)
BLOCKS = st.builds(
    Block,
    kind=st.sampled_from(ElementKind),
    text=TEXTS,
    level=st.integers(1, 4),
    page=st.one_of(st.none(), st.integers(1, 3)),
    boxes=st.lists(st.builds(Box, page=st.integers(1, 2), x0=st.just(1.0), y0=st.just(2.0), x1=st.just(3.0),
                             y1=st.floats(4, 9)), max_size=2).map(tuple),
    apart=st.booleans(),
)  # fmt: skip
DOCUMENTS = st.lists(BLOCKS, min_size=0, max_size=12).map(lambda blocks: assembled(blocks, parser="test"))
TOKENIZERS = st.sampled_from([Words(), Words(max_tokens=90), Words(longest_word=20), Deaf()])


@given(DOCUMENTS, TOKENIZERS)
@settings(max_examples=150, deadline=None)
def test_chunks_cover_the_text_in_order_without_overlap_and_within_the_caps(parsed: Parsed, tokenizer: Words) -> None:
    made = chunks(parsed, tokenizer, title="A title")
    covered, end = "", 0
    for chunk in made:
        assert chunk.span.start >= end
        assert not parsed.text[end : chunk.span.start].strip()
        text = chunk.span.of(parsed.text)
        assert text == text.strip() != ""
        assert chunk.tokens <= MAX_TOKENS
        context_tokens = len(tokenizer.offsets(embedded_text("A title", chunk.section, "")))
        assert chunk.tokens <= max(LEAST_TOKENS, tokenizer.max_tokens - MODEL_MARKS - context_tokens)
        assert len(text) <= MAX_CHARS
        covered += text
        end = chunk.span.end
    assert "".join(covered.split()) == "".join(parsed.text.split())
    assert made == chunks(parsed, tokenizer, title="A title")


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_a_chunk_has_the_section_page_and_boxes_of_what_it_is_made_of(parsed: Parsed) -> None:
    for chunk in chunks(parsed, Words()):
        touched = [element for element in parsed.elements if _overlap(element, chunk)]
        body = next((element for element in touched if element.kind is not ElementKind.TITLE), touched[0])
        assert chunk.section == body.section
        assert {element.section for element in touched if element.kind is not ElementKind.TITLE} <= {chunk.section}
        assert chunk.page == next((element.page for element in touched if element.page), None)
        pages = sorted({box.page for element in touched for box in element.boxes})
        assert [box.page for box in chunk.boxes] == pages


def _overlap(element: Element, chunk: Chunk) -> bool:
    return element.span.start < chunk.span.end and chunk.span.start < element.span.end


def texts(parsed: Parsed, **settings: int) -> list[str]:
    return [chunk.span.of(parsed.text) for chunk in chunks(parsed, Words(**settings))]


def test_titles_go_with_what_follows_and_small_elements_of_a_section_together() -> None:
    parsed = assembled(
        [
            title("One", level=1),
            title("Two", level=2),
            paragraph("Short."),
            paragraph("Also short."),
            title("Three", level=2),
            paragraph("Last."),
        ],
        parser="test",
    )
    assert texts(parsed) == ["One\n\nTwo\n\nShort.\n\nAlso short.", "Three\n\nLast."]
    assert [chunk.section for chunk in chunks(parsed, Words())] == [("One", "Two"), ("One", "Three")]


def test_a_long_paragraph_is_parted_after_sentences_and_its_title_stays_with_the_first_part() -> None:
    sentence = "This is one of the many sentences that make up a long text. "
    parsed = assembled([title("Head", level=1), paragraph(sentence * 40)], parser="test")
    made = texts(parsed)
    assert made[0].startswith("Head\n\nThis is one")
    assert all(text.endswith("a long text.") for text in made)
    assert len(made) > 2


def test_the_end_of_a_paragraph_is_not_left_over_as_a_crumb() -> None:
    sentence = "one two six ten for two. "
    parsed = assembled([paragraph(sentence * 25)], parser="test")
    tokens = [chunk.tokens for chunk in chunks(parsed, Words())]
    assert TARGET_TOKENS < sum(tokens) <= MAX_TOKENS
    assert len(tokens) == 1


def test_a_table_is_parted_between_rows() -> None:
    rows = "\n".join(f"row {number} | some words. Even a stop | 1{number}" for number in range(60))
    parsed = assembled([Block(kind=ElementKind.TABLE, text=rows)], parser="test")
    for text in texts(parsed):
        assert all(re.fullmatch(r"row \d+ \| .* \| 1\d+", line) for line in text.split("\n"))


def test_text_without_any_joint_is_cut_between_words_then_between_tokens() -> None:
    spaced = assembled([paragraph("lorem " * 900)], parser="test")
    assert set(" ".join(texts(spaced)).split()) == {"lorem"}
    solid = assembled([paragraph("x" * 3_000)], parser="test")
    assert all(len(text) % 4 == 0 for text in texts(solid))


def test_one_endless_word_that_is_one_token_is_cut_by_length() -> None:
    parsed = assembled([paragraph("y" * 50_000)], parser="test")
    made = chunks(parsed, Words(longest_word=100))
    assert max(chunk.span.end - chunk.span.start for chunk in made) <= MAX_CHARS


def test_a_long_context_leaves_less_room_for_text() -> None:
    heading = "a very long heading " * 8
    parsed = assembled([title(heading, level=1), paragraph("word " * 500)], parser="test")
    tokenizer = Words()
    for chunk in chunks(parsed, tokenizer, title="a long title " * 8)[1:]:
        whole = embedded_text("a long title " * 8, chunk.section, chunk.span.of(parsed.text))
        assert len(tokenizer.offsets(whole)) + MODEL_MARKS <= tokenizer.max_tokens


def _paragraphs(chars: int) -> Iterator[Block]:
    text = "The quick brown fox jumps over the lazy dog. " * 10
    for _ in range(chars // len(text)):
        yield paragraph(text)


def test_five_million_characters_are_tokenized_once() -> None:
    parsed = assembled(_paragraphs(5_000_000), parser="test")
    tokenizer = Words()
    made = chunks(parsed, tokenizer)
    assert len(made) > 5_000
    assert tokenizer.chars_seen < 1.01 * len(parsed.text)


def test_boxes_are_joined_by_page() -> None:
    def box(page: int, y0: float) -> Box:
        return Box(page=page, x0=10, y0=y0, x1=20, y1=y0 + 5)

    element = Element(
        kind=ElementKind.PARAGRAPH, span=Span(start=0, end=4), page=1, boxes=(box(1, 50), box(2, 7), box(1, 90))
    )
    parsed = Parsed(text="text", elements=(element,), parser="test")
    (chunk,) = chunks(parsed, Words())
    assert chunk == Chunk(
        span=Span(start=0, end=4),
        tokens=1,
        page=1,
        boxes=(Box(page=1, x0=10, y0=50, x1=20, y1=95), Box(page=2, x0=10, y0=7, x1=20, y1=12)),
        section=(),
    )


def test_nothing_gives_no_chunk() -> None:
    assert chunks(Parsed(text="", elements=(), parser="test"), Words()) == ()


@pytest.mark.parametrize("text", ["a\u0301" * 3000, "😀" * 3000])
def test_no_code_point_is_halved(text: str) -> None:
    made = texts(assembled([paragraph(text)], parser="test"))
    assert "".join(made) == text
