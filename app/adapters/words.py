"""Where words stand in a text, and the stretches of text that follow them: how a weak pattern is given its context."""

from collections.abc import Iterator, Sequence

REACH_CHARS = 60
"""How far after a word that announces a value the value may end."""


class Words:
    """A text in lower case, letter for letter under the text itself, to look words up in. Lookups are whole words."""

    def __init__(self, text: str) -> None:
        lowered = text.lower()
        if len(lowered) != len(text):  # some capitals are two letters in lower case
            lowered = "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
        self._lowered = lowered

    def places(self, word: str) -> Iterator[int]:
        """Where a word (or words) in lower case ends, each time; a plural or a colon may follow, a letter not."""
        text, size = self._lowered, len(word)
        at = text.find(word)
        while at >= 0:
            end = at + size
            before, after = text[at - 1 : at] if at else "", text[end : end + 1]
            if not before.isalnum() and not after.isalnum():
                yield end
            at = text.find(word, end)

    def has(self, word: str) -> bool:
        return next(self.places(word), None) is not None

    def stretches(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """What follows any of these words, up to `REACH_CHARS`, as [start, end) in order; overlapping ones are one."""
        found: list[tuple[int, int]] = []
        for end in sorted({end for word in words for end in self.places(word)}):
            if found and end <= found[-1][1]:
                found[-1] = (found[-1][0], end + REACH_CHARS)
            else:
                found.append((end, end + REACH_CHARS))
        return found


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither a letter nor a digit touches text[start:end], nor a dot or hyphen with one behind it."""
    return not (_joined(text, start - 1, -1) or _joined(text, end, 1))


def _joined(text: str, at: int, step: int) -> bool:
    if not 0 <= at < len(text):
        return False
    touching = text[at]
    if touching.isalnum() or touching == "_":
        return True
    beyond = at + step
    return touching in ".-" and 0 <= beyond < len(text) and text[beyond].isdigit()
