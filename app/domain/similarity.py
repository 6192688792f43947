"""When two texts say the same, or nearly: shingles of normalized words, and how many two texts share."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence, Set
from dataclasses import dataclass
from operator import eq
from typing import Final, NewType, TypeVar

from app.domain.corpus import Digest

Band = NewType("Band", int)
"""What texts meet by that may be alike: 64 bits, signed. Those that share none are never compared."""

Shingle = tuple[str, ...]
T = TypeVar("T")

SHINGLE_WORDS: Final = 3
ALIKE: Final = 0.8
"""The Jaccard similarity of shingles from which two texts are near-duplicates."""

MAYBE_ALIKE: Final = 0.7
"""The estimate from which the exact similarity is worth computing: 128 slots err by 0.035 at 0.8 (one sigma)."""

BAND_SLOTS: Final = 6
"""Slots of a signature in one band. With 21 bands of six, two texts that are alike by 0.8 meet in 99.8 of 100 cases,
by 0.5 in 28, by 0.2 in less than one: 1 - (1 - s^6)^21 (Leskovec et al., Mining of Massive Datasets, 3.4)."""

_SLOT_BYTES: Final = 4

# Scripts that put no space between words: each sign is taken for a word.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
"""The same of such a text, in half the time."""
_NUMBER = re.compile(r"(?:[^\w\s.,;:!?'\"()\[\]-]\s?|(?<!\S)-)?(?<!\w)\w*\d(?:[\w.,:/-]*\w)?%?")
"""With the sign before it, and all that is written together with it."""
_NAME = re.compile(r"(?<![.!?:;\n]\s)(?<=\s)[^\W\d_a-z]\w*")
"""What may begin with a capital letter, not at the start of a sentence."""
_TURNING_WORDS: Final = """
    no not never none nor neither without except unless only may must shall should can cannot could
    one two three four five six seven eight nine ten eleven twelve
    nicht kein keine keinen keiner nie niemals ohne außer nur darf dürfen muss müssen soll sollen
    ne pas jamais sans sauf aucun aucune peut doit
"""
"""English, German, French: a text in another language is compared by its numbers and names alone."""
_TURNING = frozenset(_TURNING_WORDS.casefold().split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A MinHash signature of a text's shingles: its estimate of how alike two texts are needs neither text."""

    algorithm: str
    """Names program, version and every parameter: only signatures of one algorithm are compared."""
    slots: bytes
    """Unsigned 32-bit integers, little-endian. Empty for a text that is too short to be signed."""
    normal: Digest
    """Of the normalized words, in order: what texts share that differ in case, signs and white space alone."""


def words(text: str) -> list[str]:
    """The words of a text without case, signs and compatibility forms, in order; of one without words, itself."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower()) or [text]
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold()) or [text]


def shingles(said: Sequence[str]) -> frozenset[Shingle]:
    """Every run of `SHINGLE_WORDS` words; of a shorter text, the text as a whole."""
    if len(said) < SHINGLE_WORDS:
        return frozenset([tuple(said)])
    return frozenset(zip(*(said[start:] for start in range(SHINGLE_WORDS)), strict=False))


def jaccard(some: Set[T], others: Set[T]) -> float:
    """What two texts share of all that is in either: 0 to 1."""
    shared = len(some & others)
    return shared / (len(some) + len(others) - shared)


def normal_digest(said: Sequence[str]) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(' '.join(said).encode()).hexdigest()}")


def bands(signature: Signature) -> tuple[Band, ...]:
    """Where this text meets those like it: one for its words as a whole, then one for every `BAND_SLOTS` slots."""
    size = BAND_SLOTS * _SLOT_BYTES
    whole = range(0, len(signature.slots) - size + 1, size)
    parts = [signature.normal.encode(), *(signature.slots[start : start + size] for start in whole)]
    return tuple(_band(signature.algorithm, at, part) for at, part in enumerate(parts))


def estimated(some: Signature, other: Signature) -> float:
    """The share of slots that agree, which estimates `jaccard`; 1 for the same words."""
    if some.normal == other.normal:
        return 1.0
    if some.algorithm != other.algorithm or not some.slots or not other.slots:
        return 0.0
    ours, theirs = memoryview(some.slots).cast("I"), memoryview(other.slots).cast("I")
    agreeing: int = sum(map(eq, ours, theirs))
    return agreeing / len(ours)


class Heard:
    """Short texts, one after the other, each held against those before it.

    One repeats another when a reader of the one needs the other no more: nearly the same shingles, and the same
    particulars. INVARIANT: texts that differ in a number, a name or a `not` never repeat one another, so two clauses of
    one template, and a copy that contradicts its original, are both told.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._shingles: list[set[int]] = []
        self._numbers: dict[Shingle, int] = {}
        """Of the shingles met, which are compared by them: not by hashes, as strings can be found that share one."""

    def hear(self, text: str) -> list[int]:
        """The places of the texts before this one that it repeats, ascending. Its own place is the next one."""
        said = words(text)
        own = {self._numbers.setdefault(each, len(self._numbers)) for each in shingles(said)}
        repeated = [
            place
            for place, other in enumerate(self._shingles)
            if len(own) >= ALIKE * len(other) and len(other) >= ALIKE * len(own) and jaccard(own, other) >= ALIKE
        ]
        self._texts.append(text)
        self._shingles.append(own)
        return [place for place in repeated if particulars(text) == particulars(self._texts[place])]


def particulars(text: str) -> frozenset[str]:
    """Numbers with their signs, names and words that turn a sentence around, wherever they stand."""
    names = (name for name in _NAME.findall(text) if name[0].isupper())
    return _TURNING.intersection(words(text)).union(_NUMBER.findall(text), names)


def _band(algorithm: str, at: int, part: bytes) -> Band:
    key = hashlib.blake2b(part, digest_size=8, person=f"band{at}".encode(), salt=_salt(algorithm)).digest()
    return Band(int.from_bytes(key, "little", signed=True))


def _salt(algorithm: str) -> bytes:
    return hashlib.blake2b(algorithm.encode(), digest_size=16).digest()
