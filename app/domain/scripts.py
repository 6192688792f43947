"""How a text is written."""

from typing import Final

SYLLABIC: Final = "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f"
"""Scripts of which one sign is a word or a syllable, for a class of a regular expression: Han and Hangul."""

SPACELESS: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff" + SYLLABIC
"""Scripts that write words together, likewise: these, kana, Thai, Lao, Burmese and Khmer."""
