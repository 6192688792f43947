"""The sign step: from a version's canonical text to the signature that its near-duplicates are found by. Pure.

The library is used here alone: whoever compares signatures needs none.
"""

from importlib.metadata import version
from typing import Final

from rensa import RMinHash  # type: ignore[import-untyped]

from app.domain.similarity import SHINGLE_WORDS, Signature, normal_digest, shingles, words

SLOTS: Final = 128
SEED: Final = 20261122
LEAST_WORDS: Final = 12
"""A shorter text is compared as a whole: with a shingle or two changed, an estimate says little."""

ALGORITHM: Final = (
    f"rensa {version('rensa')} R-MinHash v{RMinHash.ALGORITHM_VERSION}, {SLOTS} slots, seed {SEED}, "
    f"{SHINGLE_WORDS} words a shingle"
)


def signed(text: str) -> Signature:
    """The signature of a text. Equal texts have equal signatures, on any machine."""
    said = words(text)
    slots = b""
    if len(said) >= LEAST_WORDS:
        sketch = RMinHash(num_perm=SLOTS, seed=SEED)
        sketch.update([" ".join(shingle) for shingle in shingles(said)])
        slots = b"".join(slot.to_bytes(4, "little") for slot in sketch.digest())
    return Signature(algorithm=ALGORITHM, slots=slots, normal=normal_digest(said))
