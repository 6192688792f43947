"""Texts to weighted terms for BM25, with the Snowball stemmer for English."""

import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import Stemmer  # type: ignore[import-not-found]

from app.domain.evidence import Lexical

_K1: Final = 1.5
_B: Final = 0.75
"""With `_K1`, what measured best on SciFact with this stemmer (nDCG@10 .686)."""

_USUAL_TERMS: Final = 120
"""Terms in a passage of usual length. A constant, though BM25 says the corpus's average: an average over everything
would let documents that nobody may see move the scores of those that one may."""

_WEIGHT_STEPS: Final = 1024
"""Weights are multiples of 1/1024: the same number in float32 and float64, in every index."""

_CJK: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD: Final = rf"[^\W_{_CJK}]+"
_TOKENS: Final = re.compile(rf"[{_CJK}]+|{_WORD}(?:[-._@/&+']{_WORD})*")
_PARTS: Final = re.compile(_WORD)
_THOUSANDS: Final = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ONE_SIGN_EACH: Final = str.maketrans({"’": "'", "‘": "'", "‐": "-", "‑": "-", "–": "-", "\u00ad": None})

_COMMON_WORDS: Final = """
a about above after again all also am an and any are as at be because been before being below between both but by
can cannot could did do does doing down during each either else ever every for from further get gets got had has
have having he her here hers herself him himself his how i if in into is it its itself just let me more most my
myself neither nor of off on once only or other our ours ourselves out over own same she should so some such than
that the their theirs them themselves then there these they this those through to too under until up upon very was
we were what when where which while who whom whose why will with would you your yours yourself yourselves
"""
_STOP_WORDS: Final = frozenset(_COMMON_WORDS.split())
"""Negations (no, not, never, without) stay: they decide what a rule says."""


class SnowballAnalyzer:
    """The `Analyzer` port: words without case, stemmed; identifiers whole and in parts; Han, kana and Hangul in pairs.

    A passage's weights are the term-frequency part of BM25; the index multiplies in the document frequencies of what
    a question may see. A query's weights are 1 for each distinct term. Terms are the first four bytes of BLAKE2b of
    the word, big-endian: two words in about 4 billion share one, and then count as one. Safe to share between threads.
    """

    fingerprint: Final = "snowball-english-1"
    """Another one with every change of the terms or weights that a text gives: indexes are then built anew."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._lock = threading.Lock()  # the stemmer's C state is not to be shared

    def passage(self, text: str) -> Lexical:
        counts = Counter(_term_id(word) for word in self._words(text))
        length = counts.total()
        return _lexical({term: _saturated(count, length) for term, count in counts.items()})

    def query(self, text: str) -> Lexical:
        return _lexical({_term_id(word): 1.0 for word in self._words(text)})

    def _words(self, text: str) -> list[str]:
        whole, plain = _split(text)
        with self._lock:
            stems: list[str] = self._stemmer.stemWords(plain)
        return whole + stems


def _split(text: str) -> tuple[list[str], list[str]]:
    """Words to be kept as they are (identifiers, pairs of CJK signs), and words to be stemmed."""
    normal = unicodedata.normalize("NFKC", text.translate(_ONE_SIGN_EACH))
    tokens = _TOKENS.findall(_THOUSANDS.sub("", normal))
    shouted = len(tokens) > 1 and normal.isupper()
    whole: list[str] = []
    plain: list[str] = []
    for token in tokens:
        if re.match(f"[{_CJK}]", token):
            whole.extend(_pairs(token))
            continue
        parts = _PARTS.findall(token)
        if len(parts) > 1 and not _is_contraction(token):
            whole.append(token.casefold())
        plain.extend(part.casefold() for part in parts if not _is_noise(part, shouted=shouted, alone=len(parts) == 1))
    return whole, plain


def _pairs(run: str) -> Iterator[str]:
    """`東京都` gives 東京 and 京都; a single sign gives itself."""
    if len(run) == 1:
        yield run
    for one, next_one in pairwise(run):
        yield one + next_one


def _is_contraction(token: str) -> bool:
    """`company's`, `don't`: one apostrophe and nothing else that joins."""
    return "'" in token and not any(sign in token for sign in "-._@/&+")


def _is_noise(part: str, *, shouted: bool, alone: bool) -> bool:
    """A stop word, or the `s` and `t` that contractions leave. `IT` and `US` are names unless all is capitals."""
    if part.isupper() and len(part) > 1 and not shouted:
        return False
    return part.casefold() in _STOP_WORDS or (not alone and part.casefold() in ("s", "t", "ll", "re", "ve", "d", "m"))


def _saturated(count: int, length: int) -> float:
    """BM25's term-frequency part (Robertson and Zaragoza 2009), above 0 and at most k1 + 1."""
    weight = count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length / _USUAL_TERMS))
    return max(round(weight * _WEIGHT_STEPS), 1) / _WEIGHT_STEPS


def _term_id(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")


def _lexical(weights: dict[int, float]) -> Lexical:
    terms = sorted(weights)
    return Lexical(terms=tuple(terms), weights=tuple(weights[term] for term in terms))
