"""The forms of an obligation that are known, and nothing near them."""

import pytest

from app.domain.access import PrincipalRef
from app.domain.obligations import Duty, DutyKind, duty


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cite", Duty(kind=DutyKind.CITE)),
        ("cite-sources", Duty(kind=DutyKind.CITE)),
        ("max-passages:3", Duty(kind=DutyKind.MAX_PASSAGES, passages=3)),
        ("max-passages:9999", Duty(kind=DutyKind.MAX_PASSAGES, passages=9999)),
        ("redact:pii", Duty(kind=DutyKind.REDACT, category="pii")),
        ("verified-only", Duty(kind=DutyKind.VERIFIED_ONLY)),
        ("no-export", Duty(kind=DutyKind.NO_EXPORT)),
        ("notify:group:dpo", Duty(kind=DutyKind.NOTIFY, group=PrincipalRef("group:dpo"))),
    ],
)
def test_known_form_is_understood(written: str, meant: Duty) -> None:
    assert duty(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Cite",
        "cite ",
        "cites",
        "cite-source",
        "max-passages",
        "max-passages:",
        "max-passages:0",
        "max-passages:-1",
        "max-passages:03",
        "max-passages:10000",
        "max-passages:٣",
        "redact",
        "redact:",
        "redact:pii phi",
        "no-export:EU",
        "notify:dpo",
        "notify:group:",
        "notify:user:ana",
        "notify:group:dpo\n",
        "no-export\n",
    ],
)
def test_anything_else_is_no_obligation_that_is_known(written: str) -> None:
    assert duty(written) is None
