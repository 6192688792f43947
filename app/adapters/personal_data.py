"""Personal data by patterns and checksums: text in, spans and kinds out. Nothing here reads anything but the text.

Every pattern has bounded repetition and is tried from each place at most once, so that no text takes long. A number
that only a checksum tells from others counts where a word announces it, such as `BSN` or `date of birth`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stdnum import iban, luhn
from stdnum.at import vnr
from stdnum.be import nn
from stdnum.bg import egn
from stdnum.ch import ssn as ahv
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.ee import ik
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.gr import amka
from stdnum.hr import oib
from stdnum.ie import pps
from stdnum.it import codicefiscale
from stdnum.lt import asmens
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import nif
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.si import emso

from app.adapters.words import Words, stands_alone
from app.domain.corpus import Span
from app.domain.redaction import Spotted

PII: Final = "pii"
PHI: Final = "phi"

CARD: Final = "payment card"
ACCOUNT: Final = "IBAN"
NATIONAL: Final = "national identifier"
DOCUMENT: Final = "identity document"
BIRTH: Final = "date of birth"
RECORD: Final = "medical record number"
HEALTH: Final = "health data about a person"
EMAIL: Final = "e-mail address"
PHONE: Final = "telephone number"
ADDRESS: Final = "postal address"
NETWORK: Final = "IP address"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How a number is written, and what tells it from any other that is written so."""

    pattern: re.Pattern[str]
    valid: Callable[[str], bool]
    kind: str = NATIONAL
    announced_by: Sequence[str] = ()
    """Words in lower case, one of which stands before it; none: the form is telling enough."""


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _any(_: str) -> bool:
    return True


_S = "[ \u00a0-]?"
"""What may stand between two groups of digits."""


def _form(pattern: str, valid: Callable[[str], bool], *announced_by: str, kind: str = NATIONAL) -> _Form:
    written = re.compile(pattern.replace("~", _S))
    return _Form(pattern=written, valid=valid, kind=kind, announced_by=announced_by)


def _social_security(text: str) -> bool:
    """SSA: no area 000, 666 or 9xx (those are ITINs, by their group), no group 00, no serial 0000."""
    number = _digits(text)
    area, group, serial = number[:3], int(number[3:5]), number[5:]
    if area[0] == "9":
        return 50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99
    return area not in ("000", "666") and group > 0 and serial != "0000"


def _national_insurance(text: str) -> bool:
    """HMRC: what the two letters may be. There is no checksum."""
    first, second = text[0].upper(), text[1].upper()
    prefix = first + second
    return (
        first not in "DFIQUV" and second not in "DFIQUVO" and prefix not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")
    )


def _taj(text: str) -> bool:
    """Hungary's social security number: weights 3 and 7, modulo 10."""
    number = [int(digit) for digit in _digits(text)]
    return sum(digit * (3, 7)[place % 2] for place, digit in enumerate(number[:8])) % 10 == number[8]


def _several_digits(text: str) -> bool:
    return sum(letter.isdigit() for letter in text) >= 5


def _not_uniform(valid: Callable[[str], bool]) -> Callable[[str], bool]:
    """Checksums that are sums are right for 000000000 too."""
    return lambda text: len(set(_digits(text))) > 1 and valid(text)


_FORMS: Final = (
    _form(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _social_security),
    _form(r"[12]~[0-9]{2}~[0-9]{2}~[0-9][0-9AB]~[0-9]{3}~[0-9]{3}~[0-9]{2}", nir.is_valid),
    _form(r"[A-Za-z]{6}[0-9]{2}[A-EHLMPRSTa-ehlmprst][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z]", codicefiscale.is_valid),
    _form(r"[XYZ]~[0-9]{7}~[A-Z]", nie.is_valid),
    _form(r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", hetu.is_valid),
    _form(r"[A-Z]{2} [0-9]{2} [0-9]{2} [0-9]{2} [A-D]", _national_insurance),
    _form(r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", nn.is_valid),
    _form(r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", ahv.is_valid),
)
"""Told by how they are written: US, France, Italy, Spain (foreigners), Finland, UK, Belgium, Switzerland."""

_DATE: Final = (
    r"(?:[0-9]{1,2}[./ -][0-9]{1,2}[./ -](?:[0-9]{4}|[0-9]{2})|[0-9]{4}[./-][0-9]{1,2}[./-][0-9]{1,2}"
    r"|[0-9]{1,2}(?:st|nd|rd|th|\.)? (?:of )?[A-Za-zäéûç]{3,10}\.? [0-9]{4}"
    r"|[A-Za-z]{3,9}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4})"
)

_MONTHS: Final = frozenset(
    (
        *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
        *("mär", "mai", "okt", "dez", "fév", "avr", "aoû", "déc", "ene", "abr", "ago", "dic", "gen", "mag", "giu"),
        *("lug", "set", "ott", "mrt", "mei", "fev", "out", "jui"),
    )
)
"""The first letters of months in English, German, French, Spanish, Italian, Dutch and Portuguese."""


def _day(text: str) -> bool:
    """Whether it can be a date: a month by its name, or numbers of which two can be a day and a month."""
    if word := re.search(r"[^\W\d_]{3,}", text.replace(" of ", " ")):
        return word.group()[:3].lower() in _MONTHS
    numbers = [int(part) for part in re.findall("[0-9]+", text)]
    numbers = sorted(numbers[1:] if numbers[0] > 1000 else numbers[:2])
    return 1 <= numbers[0] <= 12 and 1 <= numbers[1] <= 31


_ANNOUNCED: Final = (
    _form(r"[0-9]{3}~[0-9]{2}~[0-9]{4}", _not_uniform(_social_security), "ssn", "social security", "itin"),
    _form(r"[0-9]{3}~[0-9]{3}~[0-9]{4}", _not_uniform(nhs.is_valid), "nhs", "nhs number", "nhs no"),
    _form(
        r"[A-Za-z]{2}~[0-9]{2}~[0-9]{2}~[0-9]{2}~[A-Da-d]",
        _national_insurance,
        "national insurance",
        "nino",
        "ni number",
        "ni no",
    ),
    _form(
        r"[0-9]{4}[. ]?[0-9]{2}[. ]?[0-9]{3}", _not_uniform(bsn.is_valid), "bsn", "burgerservicenummer", "sofinummer"
    ),
    _form(
        r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
        idnr.is_valid,
        "steuer-id",
        "steuer id",
        "idnr",
        "idnr.",
        "steueridentifikationsnummer",
        "steuer-identifikationsnummer",
        "steuerliche identifikationsnummer",
    ),
    _form(r"[0-9]{2} ?[0-9]{6} ?[A-Z] ?[0-9]{3}", _any, "sozialversicherungsnummer", "rentenversicherungsnummer"),
    _form(r"[0-9]{4} ?[0-9]{6}", vnr.is_valid, "svnr", "sozialversicherungsnummer", "versicherungsnummer"),
    _form(r"[0-9]{11}", _not_uniform(pesel.is_valid), "pesel"),
    _form(r"[0-9]{7}[A-Wa-w][A-IWa-iw]?", pps.is_valid, "pps", "ppsn"),
    _form(r"[123][0-9]{2} ?[0-9]{3} ?[0-9]{3}", _not_uniform(nif.is_valid), "nif", "contribuinte"),
    _form(
        r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}~[A-Z]", dni.is_valid, "dni", "d.n.i.", "nif", "documento nacional de identidad"
    ),
    _form(
        r"(?:19|20)?[0-9]{6}[-+]?[0-9]{4}",
        personnummer.is_valid,
        "personnummer",
        "samordningsnummer",
        "personal number",
    ),
    _form(r"[0-9]{6}-?[0-9]{4}", cpr.is_valid, "cpr", "cpr-nummer", "cpr-nr", "personnummer"),
    _form(r"[0-9]{6} ?[0-9]{5}", fodselsnummer.is_valid, "fødselsnummer", "fodselsnummer", "personnummer"),
    _form(r"[0-9]{6}/?[0-9]{3,4}", rc.is_valid, "rodné číslo", "rodne cislo", "r.č.", "birth number"),
    _form(r"[0-9]{13}", cnp.is_valid, "cnp", "cod numeric personal"),
    _form(r"[0-9]{10}", egn.is_valid, "egn", "егн"),
    _form(r"[0-9]{11}", _not_uniform(amka.is_valid), "amka", "αμκα"),
    _form(r"[0-9]{11}", _not_uniform(oib.is_valid), "oib"),
    _form(r"[0-9]{13}", emso.is_valid, "emšo", "emso"),
    _form(r"[0-9]{11}", ik.is_valid, "isikukood", "isikukoodi"),
    _form(r"[0-9]{11}", asmens.is_valid, "asmens kodas", "asmens kodo"),
    _form(r"[0-9]{6}-?[0-9]{5}", _any, "personas kods", "personas kodu"),
    _form(r"[0-9]{11}", nn.is_valid, "rijksregisternummer", "registre national", "numéro national", "national number"),
    _form(r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}", _not_uniform(_taj), "taj", "taj-szám", "taj szám"),
    _form(r"[A-Za-z]{0,2}[0-9]{6,9}[A-Za-z]?", _any, "passport", "passport number", "passport no", kind=DOCUMENT),
    _form(
        r"[A-Za-z0-9]{2,15}(?:-[A-Za-z0-9]{2,6}){0,3}",
        _several_digits,
        "driving licence",
        "driver's license",
        "drivers license",
        "driver license",
        "driver's licence",
        kind=DOCUMENT,
    ),
    _form(
        _DATE,
        _day,
        "date of birth",
        "birth date",
        "birthdate",
        "birthday",
        "dob",
        "d.o.b.",
        "born",
        "born on",
        "geboren",
        "geburtsdatum",
        "date de naissance",
        "né le",
        "née le",
        "nato il",
        "nata il",
        "data di nascita",
        "fecha de nacimiento",
        "data de nascimento",
        "geboortedatum",
        kind=BIRTH,
    ),
    _form(r"[0-9]{6,10}", _any, "mrn", "medical record number", "medical record no", kind=RECORD),
    _form(
        r"[0-9]{12,19}", _not_uniform(luhn.is_valid), "card", "maestro", "visa", "mastercard", "kreditkarte", kind=CARD
    ),
)
"""What follows a word that announces it. A kind that two countries write alike counts once: spans are deduplicated."""

_GROUPED_CARD: Final = re.compile(
    r"[0-9]{4}([ \u00a0-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[0-9]{3}([ \u00a0-])[0-9]{6}\2[0-9]{4,5}"
)
_BARE_CARD: Final = re.compile(r"[0-9]{14,19}")
_IBAN_START: Final = re.compile(r"[A-Za-z]{2}[0-9]{2}[ \u00a0]?[A-Za-z0-9]{4}")
_IBAN_LENGTHS: Final = {
    "AD": 24,
    "AE": 23,
    "AT": 20,
    "BE": 16,
    "BG": 22,
    "BR": 29,
    "CH": 21,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "EE": 20,
    "ES": 24,
    "FI": 18,
    "FR": 27,
    "GB": 22,
    "GI": 23,
    "GR": 27,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IS": 26,
    "IT": 27,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "MC": 27,
    "MT": 31,
    "NL": 18,
    "NO": 15,
    "PL": 28,
    "PT": 25,
    "RO": 24,
    "RS": 22,
    "SA": 24,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "TR": 26,
    "UA": 29,
}
"""Of the SWIFT registry: the EU, its neighbours and a few beyond."""

_DOMAIN: Final = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}")
_MAILBOX_CHARS: Final = 64
_ROLES: Final = frozenset(
    (
        *("abuse", "accounts", "admin", "billing", "booking", "careers", "claims", "compliance", "contact"),
        *("customer", "customerservice", "dpo", "enquiries", "events", "feedback", "finance", "hello", "help"),
        *("helpdesk", "hr", "info", "information", "inquiries", "it", "jobs", "legal", "mail", "marketing"),
        *("media", "news", "newsletter", "noreply", "no-reply", "office", "orders", "postmaster", "press"),
        *("privacy", "reception", "sales", "security", "service", "services", "soc", "support", "team"),
        *("travel", "webmaster"),
    )
)
"""Mailboxes of a function, not of a person."""

_PHONES: Final = (
    re.compile(r"\+[0-9]{1,3}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9](?:[ ./-]?[0-9]){5,12}(?:x[0-9]{1,5})?"),
    re.compile(r"(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[0-9]{3}[.-][0-9]{4}(?:x[0-9]{1,5})?"),
    re.compile(r"\([0-9]{2,5}\) ?[0-9]{3}[ -]?[0-9]{2,4}(?:[ -][0-9]{2,4})?"),
    re.compile(r"0[0-9]{1,4}[ /-][0-9]{2,4}(?:[ -][0-9]{2,4}){1,4}"),
)
_ANNOUNCED_PHONE: Final = re.compile(r"\(?[0-9](?:[ ()./-]{0,2}[0-9]){5,13}")
_PHONE_WORDS: Final = (
    *("tel", "tel.", "phone", "phone number", "mobile", "mob", "fax", "cell", "call", "call me at", "telephone"),
    *("telefon", "téléphone", "handy", "teléfono", "telefono", "contact number", "number is", "reach me at"),
)
_STREETS: Final = (
    re.compile(
        r"[0-9]{1,5}[A-Za-z]?,? (?:[A-Z][A-Za-z'.-]{1,20} ){1,3}"
        r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Terrace|Close"
        r"|Crescent|Highway|Hwy|Parkway|Trail)(?![A-Za-z])"
    ),
    re.compile(r"[A-ZÄÖÜ][a-zäöüß]{2,20}(?:straße|strasse|str\.|gasse|weg|platz|laan|straat|gatan|vej) [0-9]{1,4}"),
    re.compile(r"(?:Rue|rue|Via|Calle|Rua|Avenida|Piazza) (?:[A-Za-zÀ-ÿ'.]{1,20} ){1,4}?[0-9]{1,4}"),
    re.compile(r"P\.?O\.? ?[Bb]ox [0-9]{1,6}"),
)
_IPV4: Final = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_IPV6: Final = re.compile(r"(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}")

_CLINICAL: Final = (
    *("diagnosis", "diagnosed", "diagnoses", "prescribed", "prescription", "dosage", "mg daily", "symptoms", "symptom"),
    *("chemotherapy", "blood pressure", "hypertension", "diabetes", "insulin", "depression", "anxiety disorder", "hiv"),
    *("hepatitis", "oncology", "biopsy", "tumour", "tumor", "cancer", "mri", "x-ray", "fracture", "surgery", "asthma"),
    *("allergy", "allergies", "pregnant", "pregnancy", "therapy", "physiotherapy", "psychiatric", "relapse", "icd-10"),
    *("diagnose", "befund", "arbeitsunfähig", "diagnostic médical", "diagnosi", "diagnóstico"),
)
_LEAST_CLINICAL: Final = 3
"""Different terms, next to somebody who is identified: fewer are found in any policy on leave."""
_PATIENTS: Final = ("patient:", "patient name", "name of patient", "patient no", "patient id")


class PersonalData:
    """The `Detector` of personal data."""

    def spotted(self, text: str) -> list[Spotted]:
        words = Words(text)
        found = list(_mailboxes(text))
        if _A_DIGIT.search(text):
            for each in (_cards, _accounts, _told, _networks, _streets):
                found += each(text)
            found += _announced(text, words)
            found += _phones(text, words)
        found = _without_overlaps(found)
        return [*found, *_health(words, found)]


_A_DIGIT: Final = re.compile("[0-9]")


def _spotted(kind: str, start: int, end: int, *, strong: bool = True) -> Spotted:
    return Spotted(kind=kind, category=PII, span=Span(start=start, end=end), strong=strong)


def _cards(text: str) -> Iterator[Spotted]:
    for pattern in (_GROUPED_CARD, _BARE_CARD):
        for match in pattern.finditer(text):
            number = _digits(match.group())
            if stands_alone(text, *match.span()) and _issued(number) and luhn.is_valid(number):
                yield _spotted(CARD, *match.span())


def _issued(number: str) -> bool:
    """Whether a payment network issues numbers of that beginning and length (ISO/IEC 7812)."""
    size, two, four = len(number), int(number[:2]), int(number[:4])
    match number[0]:
        case "4":
            return size in (16, 19)
        case "2":
            return (size == 16 and 2221 <= four <= 2720) or (size == 15 and four == 2131)
        case "5":
            return size == 16 and 51 <= two <= 55
        case "3":
            return (
                (size == 15 and two in (34, 37))
                or (size == 14 and (300 <= int(number[:3]) <= 305 or two in (36, 38, 39)))
                or (size == 16 and 3528 <= four <= 3589)
            )
        case "6":
            return size in (16, 19) and (four == 6011 or two in (62, 65) or 644 <= int(number[:3]) <= 649)
        case "1":
            return size == 15 and four == 1800
    return False


def _accounts(text: str) -> Iterator[Spotted]:
    for match in _IBAN_START.finditer(text):
        start = match.start()
        size = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if size is None:
            continue
        end = _end_of(text, start, size)
        if end is None or not stands_alone(text, start, end):
            continue
        if iban.is_valid(text[start:end], check_country=False):
            yield _spotted(ACCOUNT, start, end)


def _end_of(text: str, start: int, size: int) -> int | None:
    """Where `size` letters and digits from `start` on end, single spaces between; None if there are fewer."""
    at, taken = start, 0
    while taken < size:
        if at >= len(text):
            return None
        if text[at].isascii() and text[at].isalnum():
            taken += 1
        elif text[at] not in " \u00a0-" or text[at - 1] in " \u00a0-":
            return None
        at += 1
    return at


def _told(text: str) -> Iterator[Spotted]:
    for form in _FORMS:
        for match in form.pattern.finditer(text):
            if stands_alone(text, *match.span()) and form.valid(match.group()):
                yield _spotted(form.kind, *match.span())


def _announced(text: str, words: Words) -> Iterator[Spotted]:
    for form in _ANNOUNCED:
        for start, end in words.stretches(form.announced_by):
            for match in form.pattern.finditer(text, start, end):
                if stands_alone(text, *match.span()) and form.valid(match.group()):
                    yield _spotted(form.kind, *match.span())


def _mailboxes(text: str) -> Iterator[Spotted]:
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        start = at
        while start > 0 and at - start < _MAILBOX_CHARS and _in_mailbox(text[start - 1]):
            start -= 1
        if domain and start < at:
            yield _spotted(EMAIL, start, domain.end(), strong=False)
        at = text.find("@", at + 1)


def _in_mailbox(letter: str) -> bool:
    return letter.isalnum() or letter in "._%+-"


def is_role(address: str) -> bool:
    """Whether a mailbox is a function's, such as `privacy@`, and tells of nobody."""
    return address.partition("@")[0].lower() in _ROLES


def _phones(text: str, words: Words) -> Iterator[Spotted]:
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            if stands_alone(text, *match.span()):
                yield _spotted(PHONE, *match.span(), strong=False)
    for start, end in words.stretches(_PHONE_WORDS):
        for match in _ANNOUNCED_PHONE.finditer(text, start, end):
            if stands_alone(text, *match.span()):
                yield _spotted(PHONE, *match.span(), strong=False)


def _streets(text: str) -> Iterator[Spotted]:
    for pattern in _STREETS:
        for match in pattern.finditer(text):
            yield _spotted(ADDRESS, *match.span(), strong=False)


def _networks(text: str) -> Iterator[Spotted]:
    for match in _IPV4.finditer(text):
        if stands_alone(text, *match.span()) and all(int(part) < 256 for part in match.group().split(".")):
            yield _spotted(NETWORK, *match.span(), strong=False)
    for match in _IPV6.finditer(text):
        if stands_alone(text, *match.span()):
            yield _spotted(NETWORK, *match.span(), strong=False)


def _health(words: Words, found: Sequence[Spotted]) -> Iterator[Spotted]:
    """Health data about a person: several clinical terms in a text that identifies somebody. Policies do not."""
    identified = any(each.kind in (BIRTH, NATIONAL, RECORD) for each in found)
    if not identified and not any(words.has(word) for word in _PATIENTS):
        return
    terms = [places for term in _CLINICAL if (places := next(words.places(term), None)) is not None]
    if len(terms) >= _LEAST_CLINICAL:
        place = min(terms)
        yield Spotted(kind=HEALTH, category=PHI, span=Span(start=place, end=place), strong=True)


def _without_overlaps(found: Sequence[Spotted]) -> list[Spotted]:
    """Of those that overlap one: the strong before the weak, then the longer."""
    kept: list[Spotted] = []
    for each in sorted(found, key=lambda it: (it.span.start, -it.span.end)):
        if not kept or each.span.start >= kept[-1].span.end:
            kept.append(each)
        elif _rank(each) > _rank(kept[-1]):
            kept[-1] = each
    return kept


def _rank(each: Spotted) -> tuple[bool, int]:
    return each.strong, each.span.end - each.span.start
