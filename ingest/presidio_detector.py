"""Presidio as a second pair of eyes: names and other things that no pattern finds. Optional, slow, and off unless set.

It is not installed with Muniment: `pip install 'muniment[presidio]'`, and give it a spaCy model that is on this
machine. Its recognizers that would fetch something over the network are left out; ours find the same.
"""

from importlib import import_module
from typing import Any, Final

from app.adapters.personal_data import ACCOUNT, CARD, NATIONAL, PHONE, PII
from app.domain.corpus import Span
from app.domain.errors import Invalid
from app.domain.redaction import Spotted

_LEAST_SCORE: Final = 0.6
_AT_ONCE_CHARS: Final = 50_000
"""spaCy refuses texts above a million characters, and holds about a kilobyte for each."""

_KINDS: Final = {
    "PERSON": "name of a person",
    "PHONE_NUMBER": PHONE,
    "CREDIT_CARD": CARD,
    "IBAN_CODE": ACCOUNT,
    "US_SSN": NATIONAL,
    "US_ITIN": NATIONAL,
    "UK_NHS": NATIONAL,
    "ES_NIF": NATIONAL,
    "ES_NIE": NATIONAL,
    "IT_FISCAL_CODE": NATIONAL,
    "PL_PESEL": NATIONAL,
}
_WEAK: Final = frozenset({"PERSON", "PHONE_NUMBER"})
_CALLS_OUT: Final = ("EmailRecognizer", "UrlRecognizer")


class PresidioDetector:
    """The `Detector` that presidio-analyzer is, in English. `model` is a spaCy model: a package's name, or a folder.

    Raises `Invalid` if presidio or the model is not there.
    """

    def __init__(self, model: str) -> None:
        try:
            analyzer, engines = import_module("presidio_analyzer"), import_module("presidio_analyzer.nlp_engine")
            language = import_module("spacy").load(model)
        except (ImportError, OSError) as error:
            raise Invalid(
                "MUNIMENT_DETECTION__PRESIDIO is set, and presidio or that spaCy model is not installed. "
                "Install muniment[presidio] and the model, or unset it."
            ) from error
        engine = engines.SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
        engine.nlp = {"en": language}
        registry = analyzer.RecognizerRegistry()
        registry.load_predefined_recognizers(languages=["en"], nlp_engine=engine)
        for name in _CALLS_OUT:
            registry.remove_recognizer(name)
        self._analyzer: Any = analyzer.AnalyzerEngine(
            registry=registry, nlp_engine=engine, supported_languages=["en"], log_decision_process=False
        )

    def spotted(self, text: str) -> list[Spotted]:
        found = []
        for start in range(0, len(text), _AT_ONCE_CHARS):
            piece = text[start : start + _AT_ONCE_CHARS]
            for each in self._analyzer.analyze(
                text=piece, language="en", entities=sorted(_KINDS), score_threshold=_LEAST_SCORE
            ):
                span = Span(start=start + each.start, end=start + each.end)
                strong = each.entity_type not in _WEAK
                found.append(Spotted(kind=_KINDS[each.entity_type], category=PII, span=span, strong=strong))
        return found
