"""What names are found by when they are misspelled: how they sound, give or take a letter.

A passage keeps the sound of each of its names (`th` is `t`, `ph` is `f`, `c` is `k`); a question's word asks for its
own sound and for all that one letter left out, added, changed or exchanged with its neighbour makes of it. So no list
of words is needed, and nothing outside the reach has a part in it.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

SHORTEST: Final = 5
"""Letters of the shortest word that is taken for misspelled: a shorter one is too near to too many."""
_LONGEST: Final = 24

_SOUNDS: Final = (
    (re.compile("ght"), "t"),
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
_ALPHABETS: Final = ("abefghiklmnoprstuvx", "абвгдежзийклмнопрстуфхцчшщъыьэюя", "αβγδεζηθικλμνξοπρσςτυφχψω")
"""Letters that a sound may have."""
_CAPITALIZED: Final = re.compile(r"(?<=[\w,;(])[ \t(]+([A-ZÀ-Þ][\w'-]*[a-zß-ÿ][\w'-]*)")
_SEVERAL_CAPITALIZED: Final = re.compile(r"(?<!\w)[A-ZÀ-Þ][\w'-]*[a-zß-ÿ](?:[ \t]+[A-ZÀ-Þ][\w'-]*[a-zß-ÿ])+")
_WORDS: Final = re.compile(r"[^\W\d_]+")


@lru_cache(maxsize=100_000)
def sound_key(name: str) -> str | None:
    """What a name is found by; None for what is too short, too long or no word."""
    if not SHORTEST <= len(name) <= _LONGEST or not name.isalpha():
        return None
    sound = _sound(name.casefold())
    return f"~{sound}" if len(sound) >= SHORTEST - 1 else None


def keys_meant(word: str) -> frozenset[str]:
    """The keys of all names that a word may be meant for."""
    key = sound_key(word)
    if key is None:
        return frozenset()
    letters = next((letters for letters in _ALPHABETS if letters[0] <= key[1] <= letters[-1]), "")
    found = {key}
    for at in range(1, len(key) + 1):
        before, after = key[:at], key[at:]
        found.update(before + letter + after for letter in letters)
        if after:
            found.add(before + after[1:])
            found.add(before + after[1:2] + after[:1] + after[2:])
            found.update(before + letter + after[1:] for letter in letters)
    return frozenset(found)


def names_in(text: str, *, every_noun: bool) -> Iterator[str]:
    """The words of a text that are names: capitals inside a sentence, or where nouns have them, several in a row."""
    if every_noun:
        for run in _SEVERAL_CAPITALIZED.findall(text):
            yield from _WORDS.findall(run)
        return
    for name in _CAPITALIZED.findall(text):
        yield from _WORDS.findall(name)


def _sound(word: str) -> str:
    for written, sounds in _SOUNDS:
        word = written.sub(sounds, word)
    if word.isascii():
        return word
    return "".join(sign for sign in unicodedata.normalize("NFD", word) if not unicodedata.combining(sign))
