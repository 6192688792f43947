"""What a question demands word for word: phrases in quotation marks, and words of titles, headings and languages.

A passage is told to the index with marks for what may be demanded of it; whether it really says a phrase is decided
on its text.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zlib import crc32

from app.domain.evidence import Demand, Mark
from app.domain.scripts import SPACELESS

MARKS: Final = "marks-1"
"""Another one with every change of the marks that a passage gets: indexes are then built anew."""

_MARKS: Final = 2**16
"""How many marks there are. Fewer make the index smaller, more let it pass over more of what lacks a phrase: here one
passage in five hundred has the mark of two given words by chance."""


class Field(StrEnum):
    """What a question may filter by, beside attributes."""

    TITLE = "title"
    SECTION = "section"
    LANGUAGE = "language"
    URI = "uri"
    MEDIA_TYPE = "media_type"


ATTRIBUTE: Final = "attributes."

_BY_MARKS: Final = (Field.TITLE, Field.SECTION, Field.LANGUAGE)

_UNITS: Final = re.compile(rf"[{SPACELESS}]|[^\W_{SPACELESS}]+")
_SPACELESS: Final = re.compile(f"[{SPACELESS}]")
_ONE_SIGN_EACH: Final = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "‐": "-", "‑": "-", "–": "-", "\u00ad": None, "\u200b": None}
)
_PHRASES: Final = re.compile(
    r'(?<!\w)"([^"]+)"(?!\w)' + "|" + r"[“„]([^“”„]+)[“”]" + "|" + "«([^«»]+)»" + "|" + "「([^「」]+)」"
)


def phrases(question: str) -> tuple[str, ...]:
    """What stands in quotation marks, each once, in order; signs without a word are no phrase."""
    found = ("".join(groups) for groups in _PHRASES.findall(question))
    return tuple(dict.fromkeys(phrase.strip() for phrase in found if _units(phrase)))


def has_phrases(text: str, *wanted: str) -> bool:
    """Whether the text has each of the phrases, whole words of it: as written, but for case, white space and forms of
    signs."""
    plain = _plain(text)
    return all(_stands_in(plain, _plain_phrase(phrase)) for phrase in wanted)


def _stands_in(text: str, phrase: str) -> bool:
    before, after = _needs_edge(phrase[:1]), _needs_edge(phrase[-1:])
    at = text.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        if not (before and _in_word(text[max(at - 1, 0) : at])) and not (after and _in_word(text[end : end + 1])):
            return True
        at = text.find(phrase, at + 1)
    return False


def _needs_edge(sign: str) -> bool:
    return sign.isalnum() and not _SPACELESS.match(sign)


def _in_word(sign: str) -> bool:
    return sign.isalnum() or sign == "_"


@lru_cache(maxsize=4096)
def _plain_phrase(phrase: str) -> str:
    return _plain(phrase)


def marks_of(text: str, *, title: str, section: Iterable[str], language: str | None) -> frozenset[Mark]:
    """What a passage may be found to have: each two words in a row, the words of its title and headings."""
    marks = {_mark(f"{one} {other}") for one, other in pairwise(_units(text))}
    marks |= {_field_mark(Field.TITLE, unit) for unit in _words(title)}
    marks |= {_field_mark(Field.SECTION, unit) for heading in section for unit in _words(heading)}
    if language:
        marks.add(_field_mark(Field.LANGUAGE, language))
    return frozenset(marks)


def demanded(question: str, filters: Mapping[str, Sequence[str]]) -> tuple[Demand, ...]:
    """What a passage must have: every phrase of two words or more, and one value of each filter that marks decide.

    A phrase of one word leaves no mark: it is looked for among the passages that have the word.
    """
    pairs = (frozenset(_mark(f"{a} {b}") for a, b in pairwise(_units(phrase))) for phrase in phrases(question))
    groups: list[Demand] = [(marks,) for marks in pairs if marks]
    for field in _BY_MARKS:
        if field in filters:
            values = (frozenset(_field_mark(field, word) for word in _words(value)) for value in filters[field])
            groups.append(tuple(marks for marks in values if marks))
    return tuple(groups)


def meets(filters: Mapping[str, Sequence[str]], *, title: str, section: Iterable[str], language: str | None) -> bool:
    """Whether a passage has, as it is shown, one value of each filter that marks decide: others may share its marks."""
    has = {
        Field.TITLE: frozenset(_words(title)),
        Field.SECTION: frozenset(word for heading in section for word in _words(heading)),
        Field.LANGUAGE: frozenset(_words(language or "")),
    }
    return all(
        any(words and has[field].issuperset(words) for words in map(_words, filters[field]))
        for field in _BY_MARKS
        if field in filters
    )


def facets_of(attributes: Mapping[str, Sequence[str]], *, uri: str, media_type: str) -> tuple[str, ...]:
    """What the index is told that filters may ask for exactly. A uri is found by itself and by all that it lies in."""
    return (
        *(f"{ATTRIBUTE}{name}={value}" for name, values in sorted(attributes.items()) for value in values),
        *(f"{Field.URI}={prefix}" for prefix in _prefixes(uri)),
        f"{Field.MEDIA_TYPE}={media_type.casefold()}",
    )


def facets_asked(filters: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """The groups of facets, of each of which a passage must have one."""
    return tuple(
        tuple(f"{name}={_facet(name, value)}" for value in values)
        for name, values in sorted(filters.items())
        if name not in _BY_MARKS
    )


def _facet(name: str, value: str) -> str:
    if name == Field.URI:
        return value.rstrip("/")
    return value.casefold() if name == Field.MEDIA_TYPE else value


def _prefixes(uri: str) -> list[str]:
    """`s3://a/b/c` gives `s3://a`, `s3://a/b` and itself."""
    after_scheme = uri.find("://") + 3 if "://" in uri else 0
    whole = uri.rstrip("/")
    ends = [at for at in range(after_scheme + 1, len(whole)) if whole[at] == "/" and whole[at - 1] != "/"]
    return [*(whole[:end] for end in ends), whole]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text.translate(_ONE_SIGN_EACH)).casefold().split())


def _units(text: str) -> list[str]:
    """Words, and single signs of scripts that write none apart."""
    return _UNITS.findall(_plain(text))


def _words(text: str) -> list[str]:
    """As `_units`, without accents: a filter is typed by hand."""
    bare = "".join(sign for sign in unicodedata.normalize("NFD", _plain(text)) if not unicodedata.combining(sign))
    return _UNITS.findall(bare)


def _mark(thing: str) -> Mark:
    return Mark(crc32(thing.encode("utf-8", "surrogatepass")) % _MARKS)


def _field_mark(field: Field, word: str) -> Mark:
    return _mark(f"{field}:{word}")
