"""Claims held against evidence: numbers, names and polarity have to match, and the meaning has to be near."""

import pytest

from app.domain.claims import claims
from app.domain.verification import Finding, Statement, Verdict, verified

EVIDENCE = (
    "The leave is paid in full for 16 weeks.",
    "Leave must be asked for 8 weeks before it begins.",
    "Staff may keep gifts worth less than 50 euros.",
    "Northlight may not combine our data with data of others.",
    "Control SOX-404 requires two signatures.",
)


def found(text: str, *, near: float = 0.9, cited: int = 0) -> Finding:
    statements = [
        Statement(passage=place + 1, place=place, claims=claims(each), text=each) for place, each in enumerate(EVIDENCE)
    ]
    (claim,) = claims(text)
    return verified(text, claim, statements, [near] * len(statements), cited=frozenset([cited]))


@pytest.mark.parametrize(
    ("text", "cited", "verdict", "passage"),
    [
        ("The leave is paid in full for 16 weeks.", 1, Verdict.SUPPORTED, 1),
        ("Leave is fully paid for sixteen weeks.", 1, Verdict.SUPPORTED, 1),
        ("The leave is paid in full for 16 weeks.", 2, Verdict.UNCITED, 1),
        ("The leave is paid in full for 20 weeks.", 1, Verdict.CONTRADICTED, 1),
        ("The leave is not paid in full for 16 weeks.", 1, Verdict.CONTRADICTED, 1),
        ("Northlight may combine our data with data of others.", 4, Verdict.CONTRADICTED, 4),
        ("Southlight may not combine our data with data of others.", 4, Verdict.UNSUPPORTED, None),
        ("Our data may not be combined by Southlight with data of others.", 4, Verdict.UNSUPPORTED, None),
        ("Control SOX-405 requires two signatures.", 5, Verdict.UNSUPPORTED, None),
        ("Staff may keep gifts worth less than 50 euros.", 3, Verdict.SUPPORTED, 3),
        ("Staff may keep gifts worth less than 500 euros.", 3, Verdict.CONTRADICTED, 3),
    ],
)
def test_claim_is_what_the_evidence_makes_of_it(text: str, cited: int, verdict: Verdict, passage: int | None) -> None:
    finding = found(text, cited=cited)
    assert (finding.verdict, finding.passage) == (verdict, passage)


def test_shared_words_alone_support_nothing() -> None:
    assert found("Weeks of leave.", near=0.0).verdict is Verdict.UNSUPPORTED
    assert found("Dogs sleep on the couch.", near=0.3).verdict is Verdict.UNSUPPORTED
