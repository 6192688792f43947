"""What completes the words that somebody is typing: by how they begin, and with a slip of the hand forgiven."""

import re
from typing import Final

MIN_MISTYPED: Final = 4
"""Letters of a word from which one may be wrong; from twice as many, two."""

_WORD: Final = re.compile(r"[^\W_]+")


def typed(text: str) -> tuple[str, ...]:
    """The words of what was typed, or of a title, without case and signs."""
    return tuple(_WORD.findall(text.casefold()))


def slips(word: str) -> int:
    """How many letters of a word may be wrong."""
    return min(2, len(word) // MIN_MISTYPED)


def pieces(word: str) -> tuple[str, ...]:
    """Parts of a word of which one at least is in whatever it was mistyped for: one more than there may be slips, with
    a letter between them, so that two that were swapped are never in two parts.

    Letters beyond ASCII are left open (`_`), since not every database knows their lower case.
    """
    count = slips(word) + 1
    size, longer = divmod(len(word) - count + 1, count)
    sizes = [size + (at < longer) for at in range(count)]
    plain = "".join(char if char.isascii() else "_" for char in word)
    starts = [sum(sizes[:at]) + at for at in range(count)]
    return tuple(plain[start : start + length] for start, length in zip(starts, sizes, strict=True))


def closeness(words: tuple[str, ...], title: str) -> tuple[int, int] | None:
    """How well a title completes the words, lowest first: it begins with them (0), has words that begin with each of
    them (1), or does so but for slips (2, with how many). None: it does not."""
    said = typed(title)
    if " ".join(said).startswith(" ".join(words)):
        return 0, 0
    if all(any(each.startswith(word) for each in said) for word in words):
        return 1, 0
    wrong = [min((_slipped(word, each) for each in said), default=len(word)) for word in words]
    if all(count <= slips(word) for word, count in zip(words, wrong, strict=True)):
        return 2, sum(wrong)
    return None


def _slipped(word: str, other: str) -> int:
    """The fewest letters to change, add, drop or swap in a word until another begins with it; 3 for any more."""
    if other.startswith(word):
        return 0
    limit = slips(word)
    if not limit or abs(len(other[: len(word)]) - len(word)) > limit:
        return 3
    before: list[int] = []
    row = [*range(len(other) + 1)]
    for i, char in enumerate(word, 1):
        previous, before, row = before, row, [i]
        for j, letter in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != letter))
            if i > 1 and j > 1 and char == other[j - 2] and word[i - 2] == letter:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return 3
    return min(row[max(0, len(word) - limit) :], default=3)
