"""Texts to weighted terms for BM25: words without case and accents, stemmed by the Snowball stemmer of their language.

A passage is stemmed by its own language. A question is short and seldom tells its language, and is to find passages of
every one: each of its words stands for its stems in all of them, of which a passage has one.
"""

import re
import threading
import unicodedata
from collections.abc import Container, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import Stemmer  # type: ignore[import-not-found]

from app.adapters.compounds import SHORTEST, parts_of
from app.adapters.dates_and_numbers import UNITS, plain_numbers, written_otherwise
from app.adapters.languages import ENGLISH, LANGUAGES, STOP_WORDS, language_of, told_by
from app.adapters.misspellings import keys_meant, names_in, sound_key
from app.domain.demands import MARKS
from app.domain.evidence import Lexical
from app.domain.scripts import SPACELESS

_K1: Final = 1.5
_B: Final = 0.75
"""With `_K1`, what measured best on SciFact with this stemmer (nDCG@10 .686)."""

_USUAL_TERMS: Final = 120
"""Terms in a passage of usual length. A constant, though BM25 says the corpus's average: an average over everything
would let documents that nobody may see move the scores of those that one may."""

_WEIGHT_STEPS: Final = 1024
"""Weights are multiples of 1/1024: the same number in float32 and float64, in every index."""

_PART_OF_PASSAGE: Final = 0.5
"""What a part of a compound counts in a passage, where a word by itself counts 1."""
_AS_PART: Final = 0.625
"""What a word of a question weighs where it is part of a passage's compound."""
_PART_OF_QUESTION: Final = 0.3125
"""What a part of a question's compound weighs where it is a word of a passage."""
_OTHER_SPELLING: Final = 0.5
_NAME_MEANT: Final = 0.5
"""What a name that a question may have misspelled weighs."""
_MOST_MISSPELLED: Final = 4
"""Words of a question that are taken for misspelled names: each asks for some hundreds of terms."""

_STEMMERS: Final = {
    "en": "english",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "nl": "dutch",
    "pt": "portuguese",
    "sv": "swedish",
    "nb": "norwegian",
    "da": "danish",
    "fi": "finnish",
    "pl": "polish",
}
_STEMMERS_BY_SCRIPT: Final = (
    ("\u0400", "\u052f", "russian"),
    ("\u0370", "\u03ff", "greek"),
    ("\u0600", "\u06ff", "arabic"),
)
_COMPOUNDING: Final = frozenset({"de", "nl", "sv", "nb", "da", "fi"})

_COMBINING: Final = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09cd"
)
_WORD: Final = rf"(?:[^\W_{SPACELESS}]|[{_COMBINING}])+"
_TOKENS: Final = re.compile(rf"[{SPACELESS}]+|{_WORD}(?:(?:[-._@/\\&+']|(?<=\d):(?=\d)){_WORD})*")
_PARTS: Final = re.compile(_WORD)
_LETTERS_THEN_DIGITS: Final = re.compile(r"([^\W\d_]{2,})(\d{2,})|(\d{2,})([^\W\d_]{2,})")
_ONE_SIGN_EACH: Final = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ", "'"),
        **dict.fromkeys("‐‑–−", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff\u0640", None),
    }
)
_HIRAGANA: Final = {ord(sign): chr(ord(sign) - 0x60) for sign in map(chr, range(0x30A1, 0x30F7))}
_SPELT_OUT: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
_FOLDED: Final = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ё": "е"}
)
_LEFT_BY_CONTRACTIONS: Final = frozenset(("s", "t", "ll", "re", "ve", "d", "m", "l", "c", "j", "n", "qu"))
_MOST_REMEMBERED: Final = 200_000

_Terms = tuple[tuple[int, float], ...]


class SnowballAnalyzer:
    """The `Analyzer` port: words stemmed by language; identifiers whole and in parts; Han, kana and Hangul in pairs.

    A passage's weights are the term-frequency part of BM25; the index multiplies in the document frequencies of what
    a question may see. Terms are the first four bytes of BLAKE2b of the word, big-endian: two words in about 4 billion
    share one, and then count as one. Safe to share between threads.
    """

    fingerprint: Final = f"snowball-2/k1={_K1}/b={_B}/usual={_USUAL_TERMS}/{MARKS}"
    """Another one with every change of the terms or weights that a text gives: indexes are then built anew."""

    def __init__(self) -> None:
        names = {*_STEMMERS.values(), *(name for _, _, name in _STEMMERS_BY_SCRIPT)}
        self._stemmers = {name: Stemmer.Stemmer(name) for name in names}
        self._lock = threading.Lock()  # a stemmer's C state is not to be shared
        self._read: dict[tuple[str, str | None], _Terms] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._meant: dict[tuple[str, str | None], dict[int, float]] = {}

    def passage(self, text: str, *, names: Sequence[str] = ()) -> Lexical:
        tokens, more = _tokens(text)
        language = self._language(tokens)
        counts: dict[int, float] = {}
        length = 0.0
        shouted = _is_shouted(tokens)
        for token in tokens:
            for term, count in self._terms(token, language, shouted=shouted):
                counts[term] = counts.get(term, 0.0) + count
                length += count == 1.0
        for term in map(_term_id, more):
            counts[term] = counts.get(term, 0.0) + 1.0
        weights = {term: _saturated(count, length) for term, count in counts.items()}
        named = {word for name in names for word in _PARTS.findall(name)}
        named.update(names_in(text, every_noun=language == "de"))
        weights |= {_term_id(key): 1.0 for word in named if (key := sound_key(word))}
        return _lexical(weights)

    def query(self, text: str) -> Lexical:
        tokens, more = _tokens(text)
        weights = {_term_id(word): 1.0 for word in more}
        for _, terms in self._asked(tokens):
            for term, weight in terms.items():
                weights[term] = max(weight, weights.get(term, 0.0))
        return _lexical(weights)

    def asked(self, text: str) -> tuple[tuple[str, Lexical], ...]:
        return tuple((token, _lexical(terms)) for token, terms in self._asked(_tokens(text)[0]))

    def misspelled(self, text: str, *, found: Container[int]) -> Lexical:
        tokens, _ = _tokens(text)
        said = list(self._asked(tokens))
        unfound = [token for token, terms in said if not any(term in found for term in terms)]
        words = {part for token in unfound for part in _PARTS.findall(token) if sound_key(part)}
        return _lexical(
            {_term_id(key): _NAME_MEANT for word in sorted(words)[:_MOST_MISSPELLED] for key in keys_meant(word)}
        )

    def language(self, text: str) -> str | None:
        return self._language(_TOKENS.findall(text))

    def _language(self, tokens: Sequence[str]) -> str | None:
        counts: dict[str, int] = {}
        for token in tokens:
            told = self._told.get(token)
            if told is None:
                told = told_by(token.casefold())
                if len(self._told) < _MOST_REMEMBERED:
                    self._told[token] = told
            for language in told:
                counts[language] = counts.get(language, 0) + 1
        return language_of(counts)

    def _terms(self, token: str, language: str | None, *, shouted: bool) -> _Terms:
        """The terms of a passage's token, each with what it counts: remembered, since words are said again."""
        if shouted:
            token = token.casefold()
        key = (token, language)
        terms = self._read.get(key)
        if terms is None:
            with self._lock:
                terms = tuple((_term_id(word), count) for word, count in self._words(token, language))
            if len(self._read) < _MOST_REMEMBERED:
                self._read[key] = terms
        return terms

    def _asked(self, tokens: Sequence[str]) -> Iterator[tuple[str, dict[int, float]]]:
        """The tokens of a question that say something, each with its terms in every language and what they weigh."""
        spoken = self._language(tokens)
        shouted = _is_shouted(tokens)
        stops = STOP_WORDS.get(spoken or ENGLISH, frozenset())
        for token in tokens:
            token = token.casefold() if shouted else token
            if _is_spaceless(token):
                yield token, {_term_id(sign): 1.0 for sign in ([token] if len(token) == 1 else _pairs(token))}
                continue
            key = (token, spoken)
            terms = self._meant.get(key)
            if terms is None:
                with self._lock:
                    terms = self._meaning(token, stops, apart=spoken != ENGLISH)
                if len(self._meant) < _MOST_REMEMBERED:
                    self._meant[key] = terms
            if terms:
                yield token, terms

    def _meaning(self, token: str, stops: frozenset[str], *, apart: bool) -> dict[int, float]:
        """The terms of a question's token in every language, and what they weigh."""
        weights: dict[str, float] = {}
        for language in LANGUAGES:
            for word, weight in self._words(token, language, stops=stops, parts=False):
                weights[word] = max(weight, weights.get(word, 0.0))
        for part in _PARTS.findall(token):
            if not _is_noise(part, stops, alone=part == token):
                for word, weight in self._joined(part.casefold(), apart=apart):
                    weights.setdefault(word, weight)
        return {_term_id(word): weight for word, weight in weights.items()}

    def _joined(self, word: str, *, apart: bool) -> Iterator[tuple[str, float]]:
        """A question's word as part of compounds, and the parts of a compound as words."""
        if len(word) >= 4 and word.isalpha():
            for language in _COMPOUNDING:
                yield _as_part(self._stem(word, language)), _AS_PART
        if apart:
            for part in parts_of(word):
                for language in _COMPOUNDING:
                    yield self._stem(part, language), _PART_OF_QUESTION

    def _words(
        self, token: str, language: str | None, *, stops: frozenset[str] | None = None, parts: bool = True
    ) -> Iterator[tuple[str, float]]:
        """What a token is indexed under, with what it counts. Stop words are those of the language unless given."""
        if _is_spaceless(token):
            folded = token.translate(_HIRAGANA)
            yield from ((pair, 1.0) for pair in _pairs(folded) if len(folded) > 1)
            yield from ((sign, _PART_OF_PASSAGE if len(folded) > 1 else 1.0) for sign in folded)
            return
        spoken = language or ENGLISH
        found = _PARTS.findall(token)
        if len(found) > 1 and not _is_contraction(token):
            yield _whole(token), 1.0
        for part in found:
            if _is_noise(part, STOP_WORDS.get(spoken, frozenset()) if stops is None else stops, alone=len(found) == 1):
                continue
            word = part.casefold()
            yield self._stem(word, spoken), 1.0
            if word in UNITS:
                yield UNITS[word], 1.0
            if not word.isascii():
                for spelling in {_bare(word), word.translate(_SPELT_OUT)} - {word}:
                    if (other := self._stem(spelling, spoken)) != self._stem(word, spoken):
                        yield other, _OTHER_SPELLING
            if any(sign.isdigit() for sign in word) and (mixed := _LETTERS_THEN_DIGITS.fullmatch(word)):
                yield from ((piece, 1.0) for piece in mixed.groups() if piece)
            if parts and len(word) >= SHORTEST and (language in _COMPOUNDING or (language is None and len(word) > 11)):
                for piece in parts_of(word):
                    yield _as_part(self._stem(piece, spoken)), _PART_OF_PASSAGE

    def _stem(self, word: str, language: str) -> str:
        """Without accents. What another script writes is stemmed by the language that writes it most."""
        name = _STEMMERS.get(language, "english")
        if not word.isascii():
            name = next((each for first, last, each in _STEMMERS_BY_SCRIPT if first <= word[0] <= last), name)
        stem: str = self._stemmers[name].stemWord(word)
        return stem if stem.isascii() else _bare(stem)


def _tokens(text: str) -> tuple[list[str], list[str]]:
    """The tokens of a text, and what numbers, dates and the like in it are called otherwise."""
    normal = unicodedata.normalize("NFKC", plain_numbers(text.translate(_ONE_SIGN_EACH)))
    return _TOKENS.findall(normal), written_otherwise(normal)


def _is_shouted(tokens: Sequence[str]) -> bool:
    return len(tokens) > 1 and all(token == token.upper() for token in tokens) and any(map(str.isupper, tokens))


def _is_spaceless(token: str) -> bool:
    return not token.isascii() and re.match(f"[{SPACELESS}]", token) is not None


def _pairs(run: str) -> Iterator[str]:
    """`東京都` gives 東京 and 京都."""
    for one, next_one in pairwise(run.translate(_HIRAGANA)):
        yield one + next_one


def _whole(token: str) -> str:
    """An identifier without the signs that join it, unless digits stand on both sides: 2.1 is not 21."""
    token = token.casefold()
    return token if re.search(r"\d\W+\d", token) else "".join(_PARTS.findall(token))


def _is_contraction(token: str) -> bool:
    """`company's`, `don't`: one apostrophe and nothing else that joins."""
    return "'" in token and not any(sign in token for sign in "-._@/&+")


def _is_noise(part: str, stops: frozenset[str], *, alone: bool) -> bool:
    """A stop word, or what contractions leave, such as `s`. `IT` and `US` are names unless all is capitals."""
    if part.isupper() and len(part) > 1:
        return False
    return part.casefold() in stops or (not alone and part.casefold() in _LEFT_BY_CONTRACTIONS)


def _bare(word: str) -> str:
    """Without accents; Cyrillic and the rest as they are, but for ё."""
    word = word.translate(_FOLDED)
    if any("\u0400" <= sign <= "\u052f" for sign in word):
        return word
    return "".join(sign for sign in unicodedata.normalize("NFD", word) if not unicodedata.combining(sign))


def _as_part(stem: str) -> str:
    """The term of a word inside a compound: another one than that of the word by itself."""
    return f"+{stem}"


def _saturated(count: float, length: float) -> float:
    """BM25's term-frequency part (Robertson and Zaragoza 2009), above 0 and at most k1 + 1."""
    weight = count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length / _USUAL_TERMS))
    return max(round(weight * _WEIGHT_STEPS), 1) / _WEIGHT_STEPS


def _term_id(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")


def _lexical(weights: dict[int, float]) -> Lexical:
    terms = sorted(weights)
    return Lexical(terms=tuple(terms), weights=tuple(weights[term] for term in terms))
