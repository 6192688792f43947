"""Small documents of which it can be told whether a text of them is whole: every sentence carries a mark of its own."""

import io
import random
from dataclasses import dataclass
from functools import cache
from typing import Final

import docx
import openpyxl
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate

MEDIA_TYPES: Final = {
    "md": "text/markdown",
    "txt": "text/plain",
    "html": "text/html",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}

_TOPICS = ("claims handling", "retention of records", "data sharing", "travel", "incident response", "premiums")
_VERBS = ("is approved by", "has to be shown to", "is kept for", "may be passed on to", "is reviewed with")
_WHOM = ("the branch in Lyon", "the regulator", "the medical board", "the partner bank", "the actuaries")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What is put in under a uri at one time. `word` is in no other document, and in every version of this one."""

    uri: str
    word: str
    edition: int
    kind: str
    sentences: tuple[str, ...]

    @property
    def marks(self) -> frozenset[str]:
        """In every sentence one, in no other edition and no other paper any of them."""
        return frozenset(mark_of(self.word, self.edition, number) for number in range(len(self.sentences)))

    @property
    def filename(self) -> str:
        return f"{self.uri.rsplit('/', 1)[-1]}.{self.kind}"

    def is_whole_in(self, text: str) -> bool:
        return all(mark in text for mark in self.marks)

    def content(self) -> bytes:
        """The same bytes at every call, though Office files hold the time at which they were made."""
        return _rendered(self)


def paper(number: int, edition: int, kind: str, *, sentences: int) -> Paper:
    """The same for the same arguments."""
    chance = random.Random(f"{number} {edition}")
    word = word_of(number)
    return Paper(
        uri=f"papers/{number:04}",
        word=word,
        edition=edition,
        kind=kind,
        sentences=tuple(
            f"Item {mark_of(word, edition, each)} of {word}: {chance.choice(_TOPICS)} {chance.choice(_VERBS)} "
            f"{chance.choice(_WHOM)} within {chance.randint(2, 90)} days."
            for each in range(sentences)
        ),
    )


@cache
def _rendered(paper: Paper) -> bytes:
    return _RENDERED[paper.kind](paper)


def word_of(number: int) -> str:
    """A word that stands in no dictionary; all are of the same length, and none is part of another."""
    letters = []
    for _ in range(4):
        number, rest = divmod(number, 40)
        letters.append("bdfgklmp"[rest // 5] + "aeiou"[rest % 5])
    return f"zw{''.join(letters)}zw"


def mark_of(word: str, edition: int, sentence: int) -> str:
    return f"{word}e{edition}s{sentence:03}m"


def _markdown(paper: Paper) -> bytes:
    return "\n\n".join((f"# On {paper.word}", *paper.sentences)).encode()


def _plain(paper: Paper) -> bytes:
    return "\n\n".join(paper.sentences).encode()


def _page(paper: Paper) -> bytes:
    body = "".join(f"<p>{sentence}</p>" for sentence in paper.sentences)
    return f"<!doctype html><html><head><title>{paper.word}</title></head><body>{body}</body></html>".encode()


def _rows(paper: Paper) -> bytes:
    return "\n".join(("number,says", *(f'{n},"{sentence}"' for n, sentence in enumerate(paper.sentences)))).encode()


def _word(paper: Paper) -> bytes:
    document = docx.Document()
    document.add_heading(f"On {paper.word}", 1)
    for sentence in paper.sentences:
        document.add_paragraph(sentence)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _sheet(paper: Paper) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (("number", "says"), *enumerate(paper.sentences)):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _print(paper: Paper) -> bytes:
    style = getSampleStyleSheet()["BodyText"]
    out = io.BytesIO()
    SimpleDocTemplate(out, title=f"On {paper.word}", invariant=1).build(
        [Paragraph(sentence, style) for sentence in paper.sentences]
    )
    return out.getvalue()


_RENDERED = {
    "md": _markdown,
    "txt": _plain,
    "html": _page,
    "csv": _rows,
    "docx": _word,
    "xlsx": _sheet,
    "pdf": _print,
}
