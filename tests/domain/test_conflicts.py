"""Contradictions: what differs in an answer to one question is found, and what is only similar is left in peace."""

import pytest

from app.domain.claims import Claim, Modality, QuantityKind, claims, sentences, stems
from app.domain.conflicts import difference, headed_claim
from app.domain.corpus import Span

CONTRADICTORY = [
    (
        "For how many years do we keep a closed file?",
        "Closed files are kept for 10 years, because late damage often comes to light after eight or nine.",
        "Closed files are kept for 7 years and then destroyed, on paper and in every system.",
        "number",
    ),
    (
        "How long do I have to file a claim?",
        "Claims must be filed within 30 days of the loss.",
        "A claim has to be submitted within 60 days of the loss.",
        "limit",
    ),
    (
        "How many days of annual leave do we get?",
        "Employees get 25 days of annual leave per year.",
        "Each employee receives thirty days of annual leave.",
        "number",
    ),
    (
        "May staff use private devices for work?",
        "Staff may use private devices for work.",
        "Employees must not use private devices for work.",
        "polarity",
    ),
    (
        "Is flood damage covered?",
        "Flood damage is covered.",
        "Flood damage is excluded.",
        "polarity",
    ),
    (
        "How long must a password be?",
        "Passwords must have at least 8 characters.",
        "Passwords need at least 12 characters.",
        "limit",
    ),
    (
        "What is the hotel limit?",
        "Hotel costs are reimbursed up to EUR 150 per night.",
        "Hotel costs are reimbursed up to 120 euros a night.",
        "limit",
    ),
    (
        "When do applications close?",
        "Applications close on 15 June 2024.",
        "Applications close on June 30, 2024.",
        "date",
    ),
    (
        "What is the interest rate on late payments?",
        "The interest rate on late payments is 4 %.",
        "The interest rate on late payments is 5 percent.",
        "number",
    ),
    (
        "How long are call recordings kept?",
        "Call recordings are kept for at most 90 days.",
        "Call recordings are retained for no more than 6 months.",
        "limit",
    ),
    (
        "How long is the probation period?",
        "The probation period is six months.",
        "The probation period is 3 months.",
        "number",
    ),
    (
        "Is approval required for training?",
        "Approval by the line manager is required for training.",
        "Approval by the line manager is not required for training.",
        "polarity",
    ),
    (
        "What is the deductible?",
        "The deductible may not exceed EUR 500.",
        "The deductible may not exceed EUR 750.",
        "limit",
    ),
    (
        "How many failed attempts lock an account?",
        "An account is locked after five failed attempts.",
        "An account is locked after 3 failed attempts.",
        "limit",
    ),
    (
        "Can I carry over unused leave?",
        "Unused leave can be carried over to the next year.",
        "Unused leave cannot be carried over to the next year.",
        "polarity",
    ),
    (
        "When must a breach be reported?",
        "A data breach must be reported within 24 hours.",
        "A data breach must be reported within 72 hours.",
        "limit",
    ),
    (
        "What does delivery cost?",
        "Delivery costs £4.50.",
        "Delivery costs £6.50.",
        "number",
    ),
    (
        "When does the remote work policy take effect?",
        "The remote work policy takes effect on 2025-01-01.",
        "The remote work policy takes effect on 1 March 2025.",
        "date",
    ),
    (
        "How large may an attachment be?",
        "An attachment may be up to 10 MB.",
        "An attachment may be up to 25 MB.",
        "limit",
    ),
    (
        "Is encryption mandatory for laptops?",
        "Disk encryption is mandatory for laptops.",
        "Disk encryption is optional for laptops.",
        "polarity",
    ),
    (
        "When does the office open?",
        "The office opens at 8 am.",
        "The office opens at 9:00.",
        "number",
    ),
    (
        "How many guests may I bring?",
        "You may bring at most two guests.",
        "You may bring no more than four guests.",
        "limit",
    ),
    (
        "Are visitors allowed on the roof?",
        "Visitors are allowed on the roof.",
        "Visitors are not allowed on the roof.",
        "polarity",
    ),
    (
        "How often must I change my password?",
        "Passwords expire every 90 days.",
        "Passwords expire every 180 days.",
        "number",
    ),
    (
        "From what amount is a second signature needed?",
        "Payments above EUR 5,000 need a second signature.",
        "Payments over 10.000 € need a second signature.",
        "limit",
    ),
    (
        "How much notice must I give?",
        "The notice period is one month.",
        "The notice period is three months.",
        "number",
    ),
    (
        "Retention of invoices",
        "Invoices are kept for at least ten years.",
        "Invoices are stored for at least seven years.",
        "limit",
    ),
    (
        "Are refunds possible after shipping?",
        "Refunds are prohibited after shipping.",
        "Refunds are permitted after shipping.",
        "polarity",
    ),
    (
        "What share of the premium is refunded?",
        "80% of the premium is refunded.",
        "60 per cent of the premium is refunded.",
        "number",
    ),
    (
        "How early should flights be booked?",
        "Book flights at least 14 days ahead.",
        "Book flights at least 21 days ahead.",
        "limit",
    ),
    (
        "How long is parental leave?",
        "Parental leave lasts 14 weeks.",
        "Parental leave lasts 20 weeks.",
        "number",
    ),
    (
        "Wie viele Urlaubstage habe ich?",
        "Mitarbeiter haben 28 Tage Urlaub im Jahr.",
        "Mitarbeitende erhalten 30 Tage Urlaub pro Jahr.",
        "number",
    ),
    (
        "Wann muss ein Schaden gemeldet werden?",
        "Ein Schaden muss innerhalb von 14 Tagen gemeldet werden.",
        "Ein Schaden muss binnen sieben Tagen gemeldet werden.",
        "limit",
    ),
    (
        "Darf ich private Geräte nutzen?",
        "Mitarbeiter dürfen private Geräte nutzen.",
        "Mitarbeiter dürfen private Geräte nicht nutzen.",
        "polarity",
    ),
    (
        "Wie lang muss ein Passwort sein?",
        "Passwörter müssen mindestens zwölf Zeichen lang sein.",
        "Kennwörter müssen mindestens 8 Zeichen lang sein.",
        "limit",
    ),
    (
        "Bis zu welchem Betrag werden Hotelkosten erstattet?",
        "Hotelkosten werden bis zu 150 € erstattet.",
        "Hotelkosten werden bis zu 120,00 EUR erstattet.",
        "limit",
    ),
    (
        "Wie hoch ist der Selbstbehalt?",
        "Der Selbstbehalt beträgt 500 Euro.",
        "Der Selbstbehalt beträgt 1.000 Euro.",
        "number",
    ),
    (
        "Wann endet die Bewerbungsfrist?",
        "Die Bewerbungsfrist endet am 15. Juni 2024.",
        "Die Bewerbungsfrist endet am 30.06.2024.",
        "date",
    ),
    (
        "Wie hoch ist der Verzugszins?",
        "Der Verzugszins beträgt vier Prozent.",
        "Der Verzugszins beträgt 5 %.",
        "number",
    ),
    (
        "Ist eine Genehmigung erforderlich?",
        "Eine Genehmigung der Reise ist erforderlich.",
        "Eine Genehmigung der Reise ist nicht erforderlich.",
        "polarity",
    ),
    (
        "Ist Rauchen im Gebäude erlaubt?",
        "Rauchen im Gebäude ist verboten.",
        "Rauchen im Gebäude ist erlaubt.",
        "polarity",
    ),
    (
        "Wie lange werden Rechnungen aufbewahrt?",
        "Rechnungen werden mindestens 10 Jahre aufbewahrt.",
        "Rechnungen werden mindestens acht Jahre aufbewahrt.",
        "limit",
    ),
    (
        "Wie lang ist die Probezeit?",
        "Die Probezeit beträgt sechs Monate.",
        "Die Probezeit beträgt 3 Monate.",
        "number",
    ),
    (
        "Sind Überschwemmungsschäden versichert?",
        "Schäden durch Überschwemmung sind versichert.",
        "Schäden durch Überschwemmung sind ausgeschlossen.",
        "polarity",
    ),
    (
        "Wann öffnet das Büro?",
        "Das Büro öffnet um 8 Uhr.",
        "Das Büro öffnet um 9 Uhr.",
        "number",
    ),
]
"""A question, two sentences of different documents, and in what they contradict each other."""

COMPATIBLE = [
    (
        "How many days of annual leave do we get?",
        "Employees in the EU get 25 days of annual leave.",
        "Employees in the US get 15 days of annual leave.",
    ),
    (
        "What is the deductible?",
        "The deductible for water damage is EUR 500.",
        "The deductible for storm damage is EUR 300.",
    ),
    (
        "May we work remotely?",
        "Contractors may not work remotely.",
        "Employees may work remotely.",
    ),
    (
        "What is the rate?",
        "In 2023 the rate was 3 %.",
        "In 2024 the rate was 4 %.",
    ),
    (
        "How long must a password be?",
        "Passwords must have at least 8 characters.",
        "Passwords must have at most 64 characters.",
    ),
    (
        "How long do I have to file a claim?",
        "Claims must be filed within 30 days of the loss.",
        "Claims must be filed within one month of the loss.",
    ),
    (
        "How long do I have to file a claim?",
        "Claims must be filed within 24 hours.",
        "Claims must be submitted within one day.",
    ),
    (
        "What does the premium plan cost?",
        "The basic plan costs EUR 10 a month.",
        "The premium plan costs EUR 20 a month.",
    ),
    (
        "What does the plan cost?",
        "The plan costs EUR 10 a month.",
        "The plan costs EUR 110 a year.",
    ),
    (
        "How long are records kept?",
        "Call recordings are kept for 90 days.",
        "Invoices are kept for 10 years.",
    ),
    (
        "Who approves expenses?",
        "Managers may approve expenses up to EUR 1,000.",
        "Directors may approve expenses up to EUR 10,000.",
    ),
    (
        "May I take photos?",
        "You may take photos in the lobby.",
        "You may not take photos in the laboratory.",
    ),
    (
        "What is section 4 about?",
        "Section 4 applies to contracts.",
        "Section 5 applies to contracts.",
    ),
    (
        "Is approval required?",
        "Approval is not required for trips under EUR 500.",
        "Approval is required for trips over EUR 500.",
    ),
    (
        "Is flood damage covered?",
        "Flood damage is covered.",
        "Flood damage is not covered if the house was empty.",
    ),
    (
        "How many days of leave?",
        "Full-time employees get 30 days of leave.",
        "Part-time employees get 15 days of leave.",
    ),
    (
        "How many days of leave?",
        "Employees get 25 days of annual leave.",
        "Employees get 5 days of additional leave.",
    ),
    (
        "When does the office open?",
        "The office opens at 9 am on weekdays.",
        "The office opens at 11 am on Sundays.",
    ),
    (
        "How long does a reply take?",
        "We reply to complaints within 5 working days.",
        "We reply to complaints within 7 days.",
    ),
    (
        "What is the limit?",
        "The limit is EUR 500 per trip.",
        "The limit is EUR 50 per day.",
    ),
    (
        "May staff use private devices?",
        "Staff may not use private devices.",
        "Staff may use private devices if IT has approved them.",
    ),
    (
        "What is the fee?",
        "The fee is EUR 5,000.",
        "The fee is 5.000 €.",
    ),
    (
        "What is the fee?",
        "The fee is EUR 50.",
        "The fee is $60.",
    ),
    (
        "When does the policy take effect?",
        "The policy takes effect on 1 March 2025.",
        "The policy takes effect on 2025-03-01.",
    ),
    (
        "May I share passwords?",
        "Employees must not share passwords.",
        "Passwords may not be shared by employees.",
    ),
    (
        "How many attempts?",
        "An account is locked after no more than three failed attempts.",
        "An account is locked after 3 failed attempts.",
    ),
    (
        "How long is parental leave?",
        "Parental leave lasts 14 weeks.",
        "Sick leave lasts 6 weeks.",
    ),
    (
        "What is the first instalment?",
        "The first instalment is EUR 100.",
        "The second instalment is EUR 200.",
    ),
    (
        "What is the rate?",
        "From 1 January 2024 the mileage rate is 30 cents per mile.",
        "From 1 January 2025 the mileage rate is 35 cents per mile.",
    ),
    (
        "How long is the warranty?",
        "The warranty for phones is 24 months.",
        "The warranty for laptops is 36 months.",
    ),
    (
        "Must I register?",
        "You must register for the course.",
        "You must not eat in the course room.",
    ),
    (
        "Which documents are needed?",
        "Bring two photos and one passport copy.",
        "Bring two photos and one passport copy, please.",
    ),
    (
        "How many staff attended?",
        "About 20 employees attended the training in Berlin.",
        "About 35 employees attended the training in London.",
    ),
    (
        "Is export allowed?",
        "Export under licence SOX-404 is allowed.",
        "Export under licence SOX-302 is not allowed.",
    ),
    (
        "How long may data be kept?",
        "Data may be kept for up to 2 years with consent.",
        "Data may be kept for up to 5 years by law.",
    ),
    (
        "What is the cap?",
        "The cap does not apply to employees.",
        "The cap is EUR 500.",
    ),
    (
        "Wie viele Urlaubstage?",
        "Vollzeitkräfte erhalten 30 Tage Urlaub.",
        "Teilzeitkräfte erhalten 15 Tage Urlaub.",
    ),
    (
        "Wie hoch ist der Selbstbehalt?",
        "Der Selbstbehalt bei Wasserschäden beträgt 500 Euro.",
        "Der Selbstbehalt bei Sturmschäden beträgt 300 Euro.",
    ),
    (
        "Wie lange gilt die Frist?",
        "Die Frist beträgt 30 Tage.",
        "Die Frist beträgt einen Monat.",
    ),
    (
        "Darf ich private Geräte nutzen?",
        "Private Geräte dürfen nicht genutzt werden.",
        "Private Geräte dürfen mit Genehmigung der IT genutzt werden.",
    ),
    (
        "Was kostet der Tarif?",
        "Der Basistarif kostet 10 Euro im Monat.",
        "Der Premiumtarif kostet 20 Euro im Monat.",
    ),
    (
        "Ist ein Attest nötig?",
        "Ein Attest ist ab dem vierten Tag erforderlich.",
        "Ein Attest ist für Kinder nicht erforderlich.",
    ),
    (
        "Wie hoch war der Zins?",
        "2023 betrug der Zins 3 %.",
        "2024 betrug der Zins 4 %.",
    ),
    (
        "Wie viele Urlaubstage?",
        "In Deutschland gibt es 30 Tage Urlaub.",
        "In Österreich gibt es 25 Tage Urlaub.",
    ),
    (
        "Wie hoch ist der Betrag?",
        "Der Betrag ist 5.000 €.",
        "Der Betrag ist EUR 5000,00.",
    ),
    (
        "Muss ich mich anmelden?",
        "Gäste müssen sich anmelden.",
        "Mitarbeiter müssen sich nicht anmelden.",
    ),
]
"""Near misses: another place, product, role, condition or year; the same in other words; or room for both."""


@pytest.mark.parametrize(("question", "one", "other", "kind"), CONTRADICTORY)
def test_contradiction_is_found_in_either_order(question: str, one: str, other: str, kind: str) -> None:
    asked = frozenset(stems(question))
    for mine, yours in ((one, other), (other, one)):
        found = difference(headed_claim(mine), headed_claim(yours), asked)
        assert found is not None
        assert found[0] == kind


@pytest.mark.parametrize(("question", "one", "other"), COMPATIBLE)
def test_near_miss_is_no_contradiction(question: str, one: str, other: str) -> None:
    asked = frozenset(stems(question))
    assert difference(headed_claim(one), headed_claim(other), asked) is None
    assert difference(headed_claim(other), headed_claim(one), asked) is None


def test_what_the_question_is_not_about_is_no_contradiction() -> None:
    one, other = headed_claim("The notice period is one month."), headed_claim("The notice period is three months.")
    assert difference(one, other, frozenset(stems("How much notice must I give?"))) is not None
    assert difference(one, other, frozenset(stems("Where is the canteen?"))) is None


def test_title_or_section_that_names_another_place_or_number_parts_two_sentences() -> None:
    asked = frozenset(stems("How long is data kept?"))
    sentence, otherwise = "Customer data is kept for 2 years.", "Customer data is kept for 5 years."
    for mine, yours, differ in (("Data policy", "Retention", True), ("Annex for the EU", "Annex for the UK", False)):
        one, other = (
            headed_claim(text, frozenset(stems(heading))) for text, heading in ((sentence, mine), (otherwise, yours))
        )
        assert (difference(one, other, asked) is not None) is differ


def read(text: str) -> Claim:
    (claim,) = claims(text)
    return claim


@pytest.mark.parametrize(
    ("text", "kind", "low", "high", "unit"),
    [
        ("It takes thirty days.", "duration", 720.0, 720.0, "day"),
        ("It takes one month.", "duration", 730.0, 730.0, "month"),
        ("Es dauert höchstens vierundzwanzig Stunden.", "duration", None, 24.0, "hour"),
        ("It takes no later than 5 working days.", "duration", None, 5.0, "working-day"),
        ("It costs EUR 5,000.", "money", 5000.0, 5000.0, "EUR"),
        ("Es kostet 5.000 €.", "money", 5000.0, 5000.0, "EUR"),
        ("Es kostet 5.000,50 Euro.", "money", 5000.5, 5000.5, "EUR"),
        ("It costs £2.5 million.", "money", 2500000.0, 2500000.0, "GBP"),
        ("It is 4 %.", "percent", 4.0, 4.0, "%"),
        ("Es sind vier Prozent.", "percent", 4.0, 4.0, "%"),
        ("It ends on 15 June 2024.", "date", 20240615.0, 20240615.0, "ymd"),
        ("It ends on June 15, 2024.", "date", 20240615.0, 20240615.0, "ymd"),
        ("Es endet am 15. Juni 2024.", "date", 20240615.0, 20240615.0, "ymd"),
        ("Es endet am 15.06.2024.", "date", 20240615.0, 20240615.0, "ymd"),
        ("It ended 2024-06-15.", "date", 20240615.0, 20240615.0, "ymd"),
        ("It opens at 5:30 p.m.", "time", 1050.0, 1050.0, ""),
        ("Bring at least 3 photos.", "number", 3.0, None, ""),
        ("Bring 10 to 15 photos.", "number", 10.0, 15.0, ""),
        ("No more than three photos are taken.", "number", None, 3.0, ""),
    ],
)
def test_quantity_is_read(text: str, kind: str, low: float | None, high: float | None, unit: str) -> None:
    (found,) = read(text).quantities
    assert (found.kind, found.low, found.high, found.unit) == (QuantityKind(kind), low, high, unit)


@pytest.mark.parametrize(
    "text",
    ["Section 4.2 applies.", "See § 5.", "Sheet 3 is here.", "2. Bring it.", "Use SOX-404.", "03/04/2024 it was."],
)
def test_names_list_numbers_and_dates_that_may_be_either_are_no_quantities(text: str) -> None:
    assert [quantity for claim in claims(text) for quantity in claim.quantities] == []


@pytest.mark.parametrize(
    ("text", "modality"),
    [
        ("You must register.", Modality.REQUIRED),
        ("You must not register.", Modality.FORBIDDEN),
        ("You do not have to register.", Modality.OPTIONAL),
        ("You may not register.", Modality.FORBIDDEN),
        ("No employee may register.", Modality.FORBIDDEN),
        ("Registration is prohibited.", Modality.FORBIDDEN),
        ("Registration is not mandatory.", Modality.OPTIONAL),
        ("It lasts no longer than a day.", Modality.ASSERTED),
        ("Theft is excluded.", Modality.DENIED),
        ("Theft is not excluded.", Modality.ASSERTED),
        ("If you must not wait, you may register.", Modality.PERMITTED),
        ("Sie müssen sich nicht anmelden.", Modality.OPTIONAL),
        ("Sie dürfen sich nicht anmelden.", Modality.FORBIDDEN),
        ("Eine Anmeldung ist nicht erforderlich.", Modality.OPTIONAL),
        ("Diebstahl ist nicht versichert.", Modality.DENIED),
    ],
)
def test_modality_is_read(text: str, modality: Modality) -> None:
    assert read(text).modality is modality


def test_sentences_are_exact_and_end_where_they_end() -> None:
    text = "Leave\n\nDr. Voss allows it, e.g. on 15. Juni 2024. It costs 2.5 EUR!\n- First item\n- Second: z. B. this"
    assert [span.of(text) for span in sentences(text)] == [
        "Leave",
        "Dr. Voss allows it, e.g. on 15. Juni 2024.",
        "It costs 2.5 EUR!",
        "- First item",
        "- Second: z. B. this",
    ]
    assert sentences(" \n\n ") == ()


def test_spans_are_those_of_the_text_that_was_read() -> None:
    text = "Nothing here. Claims are filed within 30 days."
    last = claims(text)[-1]
    assert last.span == Span(start=14, end=len(text))
    assert [quantity.span.of(text) for quantity in last.quantities] == ["30 days"]
