"""What a text itself proposes for its label: by kinds that are told apart, in time that no text stretches."""

import time

import pytest

from app.adapters.personal_data import PersonalData
from app.adapters.secrets import Secrets
from app.domain.corpus import FindingCode
from app.domain.errors import Invalid
from ingest.labelling import proposals
from ingest.presidio_detector import PresidioDetector

STRONG = {
    "payment card": [
        "Charge 4111 1111 1111 1111 12/27 please.",
        "card 4012888888881881",
        "Amex 3782-822463-10005.",
        "It was MC 5555-5555-5555-4444, then",
        "Your Maestro card: 630427373398",
    ],
    "IBAN": [
        "Pay to GB82 WEST 1234 5698 7654 32 and tell us.",
        "IBAN:DE89370400440532013000",
        "account de89 3704 0044 0532 0130 00, Berlin",
        "NL91ABNA0417164300",
    ],
    "national identifier": [
        "SSN 123-45-6789",
        "social security number: 219 09 9999",
        "NHS number: 943 476 5919",
        "NI number AB123456C",
        "insured under AB 12 34 56 C since",
        "BSN 111222333",
        "Steuer-ID: 36 574 261 809",
        "PESEL: 44051401359",
        "NIR 2 95 10 99 126 111 93",
        "C.F. RCCMNL83S18D969H",
        "NIE X2482300W",
        "DNI 54362315K",
        "PPSN: 1234567T",
        "NIF: 123 456 789",
        "Personnummer 880320-0016",
        "henkilötunnus 131052-308T",
        "Rijksregisternummer 85.07.30-033.28",
        "CNP 1630615123457",
        "OIB: 33392005961",
        "AHV 756.9217.0769.85",
        "rodné číslo: 710319/2745",
        "CPR: 211062-5629",
    ],
    "date of birth": [
        "Date of birth: 12/05/1984",
        "She was born on 3rd of March 1979 in Lisbon.",
        "geboren am 1. April 1990",
        "DOB 1984-05-12",
        "née le 4 août 1961",
    ],
    "identity document": ["Passport number: 123456789", "His driver's license number is F162823540116."],
    "private key": [f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEpAIBAAKCAQEA' * 8}\n-----END RSA PRIVATE KEY-----"],
    "cloud credential": ["aws id AKIAIOSFODNN7EXAMPLE", f"AIza{'Sy0aB1-x' * 4}abc"],
    "access token": [
        f"ghp_{'aB3' * 12}",
        "glpat-" + "x1Y2" * 5,
        "xoxb-" + "123456789012-abcdefABCDEF",
        "sk_live_" + "4eC39HqLyjWDarjt",
        "mun_" + "a2b3c4d5" * 6,
    ],
    "signed token (JWT)": [
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0"
    ],
    "connection string with a password": ["postgresql://app:Tr0ub4dor&3@db.internal:5432/claims"],
    "password": ['password = "hunter2-Zebra9!"', "DB_PASSWORD=9f8a7c6b5d4e", "api_key: q1w2E3r4T5y6u7"],
}

HARMLESS = [
    "Order 4111 1111 1111 1112 was sent.",
    "Invoice 123456789012345678901234567890",
    "The ISBN is 978-3-16-148410-0, the article 4006381333931.",
    "Call 020 7946 0958 or write to privacy@tarnwick.example.",
    "The file is due on 12/05/1984-2 and has 111222333 lines.",
    "Date of birth: state it as DD/MM/YYYY on the form.",
    "By 2003, in the cohort born 1990-2003, it was 19 per 1000 live births.",
    "Password: must be at least 12 characters. Your password is personal.",
    "Set password=<your password> and token: ${TOKEN}.",
    "password=changeme123",
    "A PEM file starts with -----BEGIN PRIVATE KEY----- and ends likewise.",
    "https://example.org:8080/path and postgresql://user:password@localhost/db",
    "A diagnosis, a prescription and surgery are covered by the plan's sick leave.",
    "Version 1.2.3-4567 of build 000-00-0000, and 666-12-1234.",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in STRONG.items() for text in texts])
def test_what_identifies_or_opens_proposes_its_category_alone(kind: str, text: str) -> None:
    found = proposals(f"# Notes\n\n{text}\n\nEnd.")
    secret = kind in [each.kind for each in Secrets().spotted(text)]
    assert found.categories == frozenset({"secret" if secret else "pii"}), found
    assert [each.detail.partition("text: ")[2] for each in found.findings] == [f"{kind} (1)."]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_alike_proposes_nothing(text: str) -> None:
    assert proposals(f"# Notes\n\n{text}\n\nEnd.") == proposals("")


def test_a_span_is_exactly_what_was_found() -> None:
    text = "İstanbul: pay GB82 WEST 1234 5698 7654 32 or 4111 1111 1111 1111, DOB 12.05.1984."
    found = {each.span.of(text) for each in PersonalData().spotted(text) if each.strong}
    assert found == {"GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "12.05.1984"}


def test_contacts_make_no_register_until_they_are_many_and_dense() -> None:
    people = [f"Ann{n} Example, ann{n}.example@post.example, +353 1 555 0{n:03}" for n in range(12)]
    assert proposals("\n".join(people)).categories == {"pii"}
    assert proposals("\n".join(people[:3])).categories == frozenset()
    assert (
        proposals("\n".join(people) + "\n" + "What is written here concerns nobody. " * 600).categories == frozenset()
    )
    desks = [f"The {n}th desk: privacy@branch{n}.example" for n in range(40)]
    assert proposals("\n".join(desks)).categories == frozenset()


def test_clinical_words_are_health_data_only_where_somebody_is_identified() -> None:
    note = "Diagnosis: hypertension. Prescribed ramipril; blood pressure to be taken again."
    assert proposals(note).categories == frozenset()
    assert proposals(f"Patient: J. Doe\n{note}").categories == {"phi"}
    assert proposals(f"Date of birth: 12/05/1984\n{note}").categories == {"pii", "phi"}


def test_a_finding_tells_kinds_and_counts_and_never_a_value() -> None:
    text = "4111 1111 1111 1111, 4012888888881881, 4111 1111 1111 1111 and GB82WEST12345698765432; password=aB3-xY9_qq"
    found = proposals(text)
    assert found.categories == {"pii", "secret"}
    assert [(each.code, each.detail) for each in found.findings] == [
        (FindingCode.PERSONAL_DATA, "Personal data was found in the text: IBAN (1), payment card (2)."),
        (FindingCode.SECRET, "What grants access to somebody's systems was found in the text: password (1)."),
    ]


_HOSTILE = {
    "digits": "1" * 400_000,
    "spaced-digits": "1 " * 200_000,
    "nearly-cards": "4111 1111 1111 1112 " * 20_000,
    "at-signs": "a.b@" * 100_000,
    "token-beginnings": "eyJ" * 130_000,
    "one-endless-token": " eyJ" + "a" * 400_000,
    "key-beginnings": "-----BEGIN PRIVATE KEY-----\nabc def:" * 11_000,
    "announcements": "bsn born dob ssn nhs " * 19_000,
    "announced-nearly": "ssn 000456789 " * 28_000,
    "logins": "://a:b" * 66_000,
    "assignments": "password:" * 44_000,
    "streets": "12 Abc Abc Abc " * 26_000,
    "account-beginnings": "GB82GB82" * 50_000,
    "capitals-that-grow": "İ" * 400_000,
}


@pytest.mark.parametrize("text", list(_HOSTILE.values()), ids=list(_HOSTILE))
def test_no_text_takes_long(text: str) -> None:
    """Bounds are loose, for busy machines: what is not linear takes minutes."""
    started = time.process_time()
    proposals(text)
    assert time.process_time() - started < 5


def test_presidio_without_its_model_is_refused_with_what_to_install() -> None:
    with pytest.raises(Invalid, match=r"Install muniment\[presidio\]"):
        PresidioDetector("no-such-model")
