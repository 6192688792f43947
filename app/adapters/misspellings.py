"""What names are found by when they are misspelled: how they sound, with any one letter left out.

Two words meet if one letter was left out, added, changed or exchanged with its neighbour, beside what sounds alike
(`th` and `t`, `ph` and `f`, `c` and `k`). The same keys are made of a passage's names and of a question's words, so no
list of words is needed, and nothing outside the reach has a part in it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

SHORTEST: Final = 5
"""Letters of the shortest word that is taken for misspelled: a shorter one is too near to too many."""
_LONGEST: Final = 24

_SOUNDS: Final = (
    (re.compile("ph"), "f"),
    (re.compile("(?<=.)h"), ""),
    (re.compile("ae|ä"), "a"),
    (re.compile("oe|ö"), "o"),
    (re.compile("ue|ü"), "u"),
    (re.compile("[ckq]+"), "k"),
    (re.compile("[dt]+"), "t"),
    (re.compile("[vw]+"), "v"),
    (re.compile("[iyj]+"), "i"),
    (re.compile("[sz]+"), "s"),
    (re.compile(r"(.)\1+"), r"\1"),
)
_CAPITALIZED: Final = re.compile(r"(?<=[\w,;(])[ \t(]+([A-ZÀ-Þ][\w'-]*[a-zß-ÿ][\w'-]*)")
_SEVERAL_CAPITALIZED: Final = re.compile(r"[A-ZÀ-Þ][\w'-]*[a-zß-ÿ](?:[ \t]+[A-ZÀ-Þ][\w'-]*[a-zß-ÿ])+")
_WORDS: Final = re.compile(r"[^\W\d_]+")


def name_keys(words: Iterable[str]) -> list[str]:
    """The keys of words, each once."""
    return list(dict.fromkeys(key for word in dict.fromkeys(words) for key in _keys(word)))


def names_in(text: str, *, every_noun: bool) -> Iterator[str]:
    """The words of a text that are names: capitals inside a sentence, or where nouns have them, several in a row."""
    if every_noun:
        for run in _SEVERAL_CAPITALIZED.findall(text):
            yield from _WORDS.findall(run)
        return
    for name in _CAPITALIZED.findall(text):
        yield from _WORDS.findall(name)


def _keys(word: str) -> Iterator[str]:
    if not SHORTEST <= len(word) <= _LONGEST or not word.isalpha():
        return
    sound = _sound(word.casefold())
    if len(sound) < SHORTEST - 1:
        return
    yield f"~{sound}"
    for at in range(len(sound)):
        yield f"~{sound[:at]}{sound[at + 1 :]}"


def _sound(word: str) -> str:
    for written, sounds in _SOUNDS:
        word = written.sub(sounds, word)
    if word.isascii():
        return word
    return "".join(sign for sign in unicodedata.normalize("NFD", word) if not unicodedata.combining(sign))
