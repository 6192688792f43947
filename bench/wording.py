"""Text to measure on: passages, documents and questions, drawn from the sentences of our own corpus.

Every passage is another one, and carries a few words that hardly any other has, as real ones do.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parents[1] / "fixtures" / "sources"

_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_SENTENCE: Final = re.compile(r"[A-Z][^.!?|\n]{30,260}[.!?](?=\s|\Z)")
_SYLLABLES: Final = ("ba", "dor", "fen", "gal", "hil", "kar", "lum", "mer", "nov", "pra", "ros", "sten", "tav", "vel")
_OPENINGS: Final = ("What do we say about", "May we", "Who decides on", "When does it hold that", "Is it true that")
_RARE_WORDS: Final = 20_000

SENTENCES_PER_CHUNK: Final = 6


def own_sentences() -> list[str]:
    """Each sentence of the corpus's sources once, in the order of files."""
    texts = (_FRONT_MATTER.sub("", path.read_text()) for path in sorted(SOURCES.rglob("*.md")))
    return list(dict.fromkeys(found.group() for text in texts for found in _SENTENCE.finditer(text)))


class Writer:
    """The same texts for the same seed."""

    def __init__(self, sentences: Sequence[str], *, seed: int) -> None:
        self._sentences = sentences
        self._chance = random.Random(seed)

    def passage(self) -> tuple[int, str]:
        """A text of about the length of a chunk, and the place of the sentence that it is mostly about."""
        chosen = self._chance.choices(range(len(self._sentences)), k=SENTENCES_PER_CHUNK - 1)
        said = [self._sentences[at] for at in chosen]
        said.insert(self._chance.randrange(len(said)), self._particular())
        return chosen[0], " ".join(said)

    def title(self) -> str:
        return f"{self._rare_word().capitalize()} {self._rare_word()} {self._chance.randint(1990, 2026)}"

    def document(self, *, sections: int, paragraphs: int) -> str:
        """Markdown with headings; about a chunk for each paragraph."""
        return "\n\n".join(self._blocks(sections, paragraphs)) + "\n"

    def question(self) -> str:
        """Eight to sixteen words about something that stands in the corpus."""
        words = self._chance.choice(self._sentences).rstrip(".!?").split()
        length = min(len(words), self._chance.randint(5, 12))
        start = self._chance.randint(0, len(words) - length)
        return f"{self._chance.choice(_OPENINGS)} {' '.join(words[start : start + length])}?"

    def _blocks(self, sections: int, paragraphs: int) -> Iterator[str]:
        yield f"# {self.title()}"
        for _ in range(sections):
            yield f"## {self.title()}"
            for _ in range(paragraphs):
                yield self.passage()[1]

    def _particular(self) -> str:
        return (
            f"File {self._chance.randrange(10**6):06} of {self._rare_word()} concerns {self._rare_word()} "
            f"and is kept with {self._rare_word()}."
        )

    def _rare_word(self) -> str:
        """One of `_RARE_WORDS`, the first ones far more often: words of a language are not equally rare."""
        number = min(int(self._chance.paretovariate(0.6)), _RARE_WORDS)
        letters = []
        while number:
            number, rest = divmod(number, len(_SYLLABLES))
            letters.append(_SYLLABLES[rest])
        return "".join(letters)
