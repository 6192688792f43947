"""Where a compound word may be taken apart: by its letters alone, with no dictionary.

A boundary is where one German, Dutch or Nordic word may end and another begin. Many that are found are none, and do no
harm: nobody asks for `atenschutz`, and what is asked for is weighed by how rare it is among what one may read.
"""

import re
from functools import lru_cache
from typing import Final

SHORTEST: Final = 10
"""Letters of the shortest word that is taken apart."""
_LONGEST: Final = 40
_PART: Final = 4
"""Letters of the shortest part."""

_ENDS_WORDS: Final = """
b ch ck d f ff g h k l ll lb ld lf lg lk lm ls lt lz lts m mm mp mpf ms mt n nn nd ng ngs nk ns nst nt nts nz
p pf pp r rb rd rf rg rk rl rm rn rp rs rt rts rz rbs rgs rks rst s ss st t tt ts tz tzs x z gs ds bs ks ft
fts cht chts cks chs hl hls hm hn hr hrs ht hts sk ps
"""
_ENDS: Final = frozenset(_ENDS_WORDS.split())
_BEGINNINGS_WORDS: Final = """
b c d f g h j k l m n p r s t v w z bl br chr dr fl fr gl gn gr kl kn kr pf pfl pfr ph pl pr qu sch schl schm
schn schr schw sk sl sp spr st str th tr tw vl vr wr zw sj bj fj
"""
_BEGINNINGS: Final = frozenset(_BEGINNINGS_WORDS.split())
_VOWELS: Final = "aeiouyäöüåøæéèáóú"
_LAST_CONSONANTS: Final = re.compile(f"[^{_VOWELS}]*$")
_FIRST_CONSONANTS: Final = re.compile(f"^(?:qu|[^{_VOWELS}]*)")
_HAS_VOWEL: Final = re.compile(f"[{_VOWELS}]")


@lru_cache(maxsize=50_000)
def parts_of(word: str) -> tuple[str, ...]:
    """Stretches of a long word between two boundaries, ends of the word included; a short word has none."""
    if not SHORTEST <= len(word) <= _LONGEST or not word.isalpha():
        return ()
    cuts = [0, *(at for at in range(_PART, len(word) - _PART + 1) if _is_boundary(word, at)), len(word)]
    return tuple(
        dict.fromkeys(
            word[start:end]
            for place, start in enumerate(cuts)
            for end in cuts[place + 1 :]
            if end - start >= _PART and end - start < len(word) and _HAS_VOWEL.search(word[start:end])
        )
    )


def _is_boundary(word: str, at: int) -> bool:
    before, after = _LAST_CONSONANTS.search(word[:at]), _FIRST_CONSONANTS.match(word[at:])
    ends, begins = before.group() if before else "", after.group() if after else ""
    if not ends:
        return word[at - 1] in "aeio" and bool(begins) and begins in _BEGINNINGS
    return ends in _ENDS and (not begins or begins in _BEGINNINGS)
