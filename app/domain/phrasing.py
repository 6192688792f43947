"""The words of English and German by which claims are read: data, apart from the rules that use it."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Final


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP_WORDS: Final = _set("""
a an the this that these those there here it its they them their he she his her him we us our you your i me my who whom
whose which what how when where why and or but so as at by for from in into of off on onto out over per to up with
within about also any all both each every some such than then too very only own same other be is are was were been
being am do does did done have has had having get gets given if whether while during via etc e.g i.e
many much long early late soon old big high often
der die das den dem des ein eine einen einem einer eines und oder aber so als am an auf aus bei beim bis durch für im in
ins mit nach von vom vor zu zum zur über unter um es er sie ihr ihre ihren ihrem ihrer ihres sein seine seinen wir uns
unser unsere ich du sich wer wen wem was wie wo wann warum welche welcher welches welchen dies diese dieser dieses
diesen jede jeder jedes jeden alle allen aller ist sind war waren wird werden wurde wurden worden hat haben hatte
hatten dass daß wenn ob auch noch schon nur sehr mehr man je pro bzw viele viel lange hoch oft
""")
"""Words that are of no matter when sentences are compared. The index leaves out others, of each language by itself and
as part of its analyzer's fingerprint: `long` and `often` are looked for, and tell no two claims apart."""

MODALS: Final = {
    **dict.fromkeys(
        _list("""must shall should required mandatory obligatory compulsory obliged necessary needed needs
        muss müssen müssten soll sollen sollte sollten verpflichtet verpflichtend pflicht erforderlich notwendig
        nötig vorgeschrieben zwingend bedarf bedürfen braucht brauchen"""),
        "required",
    ),
    **dict.fromkeys(
        _list("""may can allowed permitted permissible entitled eligible authorised authorized cannot
        darf dürfen dürfte kann können erlaubt gestattet zulässig berechtigt zugelassen"""),
        "permitted",
    ),
    **dict.fromkeys(
        _list("""prohibited forbidden banned disallowed unauthorised unauthorized impermissible ineligible
        verboten untersagt unzulässig unerlaubt"""),
        "forbidden",
    ),
    **dict.fromkeys(_list("optional voluntary freiwillig unnötig entbehrlich"), "optional"),
}
"""What a word says of what it stands with; `required` and its like count only beside one that is no auxiliary."""
FORBID_WHEN_NEGATED: Final = _set("must shall should soll sollen sollte sollten")
"""Modals whose negation forbids; that of the others of their kind waives."""

NEGATIONS: Final = _set("""
not no never none nobody nothing neither nor cannot nicht kein keine keinen keinem keiner keines nie niemals niemand
nichts weder
""")
NOT_NEGATED: Final = _set("""
more less later longer earlier fewer greater higher lower exceed exceeds exceeding exceeded only just limited solely
until mehr weniger später länger früher größer höher überschreiten übersteigen überschritten ausschließlich nur
""")
"""What a negation before them makes a bound of, or an addition, and no denial."""
BEING: Final = _set("be is are was were been being remains remain ist sind war waren wird werden wurde wurden bleibt")
DENYING: Final = dict(
    pair.split("=")
    for pair in _list("""
    excluded=covered included=covered insured=covered disabled=enabled unpaid=paid unencrypted=encrypted closed=open
    rejected=approved declined=approved invalid=valid unavailable=available inactive=active unlimited=limited
    ausgeschlossen=versichert eingeschlossen=versichert deaktiviert=aktiviert unbezahlt=bezahlt ungültig=gültig
    unverschlüsselt=verschlüsselt geschlossen=geöffnet abgelehnt=genehmigt inaktiv=aktiv
    """)
)
"""What is said of something in one word, by the word that asserts the same or denies it."""
ASSERTING: Final = _set("included insured eingeschlossen")
"""Those of them that assert."""
SUBORDINATING: Final = _set("""
if unless when where except provided whenever because since although while before until
wenn falls sofern soweit außer ausgenommen obwohl weil es-sei-denn solange bevor
""")
CONDITIONS: Final = SUBORDINATING | _set(
    "for in during at under outside abroad with without only mit ohne nur für bei im während außerhalb innerhalb"
)

_TIMES: Final = _set("""
minute minutes hour hours day days week weeks month months year years per annum
minuten stunde stunden tag tage tagen woche wochen monat monate monaten monats jahr jahre jahren jahres
""")

SENSELESS: Final = _TIMES | (
    STOP_WORDS
    | frozenset(MODALS)
    | NEGATIONS
    | _set("""
least most maximum minimum max min least exactly approximately about around ca circa roughly no later than
höchstens mindestens maximal minimal wenigstens spätestens frühestens genau etwa rund ungefähr will would could might
ought need more less fewer longer shorter long lang after before nach vor unless except please note always
currently generally usually normally now today immer derzeit grundsätzlich
regelmäßig üblicherweise bitte allowed possible jeweils sowie
receive receives received granted grant grants amount amounts get gets getting period
erhalten erhält bekommen bekommt beträgt betragen beläuft belaufen stehen steht
""")
)

SAME: Final = {
    other: names[0]
    for names in (
        line.split()
        for line in """
        staff employee employees worker workers personnel colleague colleagues workforce
        mitarbeit mitarbeiter mitarbeiterin mitarbeiterinnen mitarbeitern mitarbeitende mitarbeitenden beschaftigte
            beschaftigten arbeitnehmer personal belegschaft
        customer customers client clients
        kunde kunden kundin kundinnen
        holiday holidays vacation vacations
        submit submitted submits lodge lodged file filed filing send sent hand
        einreich einreichen eingereicht vorlegen vorgelegt abgeben
        keep kept retain retained retention stored store storage
        aufbewahr aufbewahrt aufbewahren aufzubewahren speichern gespeichert
        reimburse reimbursed reimburses reimbursement refund refunded refunds
        erstatt erstattet erstatten erstattung
        cover covered covers coverage
        reporting report reported reports notify notified
        meld melden gemeldet meldung
        password passwords passphrase
        passwort passworter kennwort kennworter passworts
        cost costs fee fees charge charges price prices
        limit limits ceiling cap
        begin begins start starts commence commences
        end ends expire expires
        """.replace("\n            ", " ")
        .strip()
        .splitlines()
    )
    for other in names
    if other != names[0]
}
"""Words that mean the same in rules of institutions, by one of them; without umlauts."""

MONTHS: Final = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar jänner",
            "february feb februar",
            "march mar märz mär",
            "april apr",
            "may mai",
            "june jun juni",
            "july jul juli",
            "august aug",
            "september sep sept",
            "october oct oktober okt",
            "november nov",
            "december dec dezember dez",
        ),
        1,
    )
    for name in names.split()
}
MONTH_AHEAD: Final = re.compile(rf"\s?(?:{'|'.join(MONTHS)})\b", re.IGNORECASE)
ABBREVIATIONS: Final = _set("""
mr mrs ms dr prof st no nos art arts sec para fig vol approx etc e.g i.e vs inc ltd co corp dept est max min incl excl
jan feb mar apr jun jul aug sep sept oct nov dec
nr abs ziff bzw ca evtl ggf inkl exkl usw z.b d.h u.a o.ä i.d.r s.o v.h vgl str tel mio mrd abt lit buchst hr fr
zzgl sog gem lt
""")

ENDINGS: Final = sorted(
    _list("""
    ements ement ments ment ations ation ungen ung ings ing ies ied ers er ern es ed en em e s y n't 's s' ately ally ly
    able ible lich liche lichen al ance ence ions ion nen innen in keit heit
    """),
    key=len,
    reverse=True,
)
"""Of words without umlauts, the longest first."""

_ONES: Final = {
    word: number
    for number, words in enumerate(
        _list("""one|eins two|zwei three|drei four|vier five|fünf six|sechs seven|sieben eight|acht nine|neun ten|zehn
        eleven|elf twelve|zwölf thirteen|dreizehn fourteen|vierzehn fifteen|fünfzehn sixteen|sechzehn
        seventeen|siebzehn eighteen|achtzehn nineteen|neunzehn"""),
        1,
    )
    for word in words.split("|")
}
_TENS: Final = {
    word: number * 10
    for number, words in enumerate(
        _list("""twenty|zwanzig thirty|dreißig|dreissig forty|vierzig fifty|fünfzig sixty|sechzig seventy|siebzig
        eighty|achtzig ninety|neunzig"""),
        2,
    )
    for word in words.split("|")
}
NUMBERS: Final = {
    **{word: number for word, number in _ONES.items() if word != "one"},
    **_TENS,
    **{
        f"{ten}-{one}": _TENS[ten] + _ONES[one]
        for ten, one in product(_TENS, _ONES)
        if ten.endswith("ty") and _ONES[one] < 10
    },
    **{
        f"{one.removesuffix('s') if one == 'eins' else one}und{ten}": _TENS[ten] + _ONES[one]
        for ten, one in product(_TENS, _ONES)
        if not ten.endswith("ty") and _ONES[one] < 10
    },
    "dozen": 12,
    "hundert": 100,
    "einhundert": 100,
    "zweihundert": 200,
    "tausend": 1000,
    "zweimal": 2,
    "dreimal": 3,
    "twice": 2,
}
"""Numbers in words. `one` is an article as often, and counts before a unit of time alone."""
ARTICLES: Final = _set("a an one ein eine einen einem einer eines")
MULTIPLIERS: Final = {
    "hundred": 100.0,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "k": 1e3,
    "m": 1e6,
    "bn": 1e9,
    "mio": 1e6,
    "mrd": 1e9,
    "hundert": 100.0,
    "tausend": 1e3,
    "millionen": 1e6,
    "milliarden": 1e9,
}

HOURS: Final = {
    form: (name, hours)
    for name, hours, forms in (
        ("second", 1 / 3600, "second seconds sec secs sekunde sekunden"),
        ("minute", 1 / 60, "minute minutes min mins minuten"),
        ("hour", 1.0, "hour hours h hr hrs stunde stunden std"),
        ("day", 24.0, "day days d tag tage tagen kalendertag kalendertage kalendertagen urlaubstage urlaubstagen"),
        ("week", 168.0, "week weeks woche wochen"),
        ("month", 730.0, "month months monat monate monaten monats"),
        ("year", 8760.0, "year years yr yrs jahr jahre jahren jahres"),
    )
    for form in forms.split()
}
WORKING_DAYS: Final = _set("werktag werktage werktagen arbeitstag arbeitstage arbeitstagen workdays workday")
DAY_ADJECTIVES: Final = _set("""
calendar working business consecutive full clear whole complete paid unpaid additional further volle vollen ganze ganzen
weitere weiteren zusätzliche aufeinanderfolgende aufeinanderfolgenden bezahlte bezahlten
""")
PERCENTS: Final = _set("% percent prozent pct")
CURRENCIES: Final = {
    form: code
    for code, forms in (
        ("EUR", "eur euro euros €"),
        ("USD", "usd dollar dollars $ us$"),
        ("GBP", "gbp pound pounds £ pfund"),
        ("CHF", "chf franken francs"),
        ("JPY", "jpy yen ¥"),
    )
    for form in forms.split()
}
MEASURES: Final = {
    form: unit
    for unit, forms in (
        ("KB", "kb kilobytes kilobyte"),
        ("MB", "mb megabytes megabyte"),
        ("GB", "gb gigabytes gigabyte"),
        ("TB", "tb terabytes terabyte"),
        ("km", "km kilometres kilometers kilometer kilometre"),
        ("m", "metres meters meter metre"),
        ("cm", "cm"),
        ("kg", "kg kilograms kilogramm kilograms"),
        ("mile", "miles mile"),
    )
    for form in forms.split()
}
REFERENCES: Final = _set("""
section sections article articles clause clauses page pages chapter annex appendix table figure step version paragraph
rule item note line level tier grade band phase form room ticket case id no nr art sec abs absatz artikel abschnitt
kapitel anlage anhang tabelle abbildung seite ziffer schritt stufe klausel punkt fassung iso din rfc release building
floor
""")
COUNTED_AFTER: Final = BEING | _set(": = than als to zu most least maximal mindestens höchstens over above below under")
"""A number of nothing that is named counts after these alone: otherwise it is a name, as in `Sheet 1`."""
BEFORE_YEARS: Final = _set("in since until from by of year fy seit bis ab jahr im and und")

_AT_MOST: Final = _set("""
most maximum max maximal maximally höchstens within under below before until spätestens
innerhalb binnen unter vor bis
max. capped limited exceed exceeding exceeds überschreiten übersteigen by
""")
_AT_LEAST: Final = _set("""
least minimum min minimal mindestens wenigstens after from over above beyond exceeding exceeds über ab nach seit
frühestens since
""")
_MORE: Final = _set("more longer later greater higher over mehr länger später höher")
_LESS: Final = _set("less fewer shorter earlier lower weniger kürzer früher niedriger")
_TRANSPARENT: Final = STOP_WORDS | _set(
    "of to a the period limit of is der die das den von einer eines frist calendar up"
)


def bound(before: Sequence[str], behind: Sequence[str]) -> tuple[str, int]:
    """`at-most`, `at-least` or nothing, as the words around a quantity say, and how many words before it say so."""
    for back in range(1, len(before) + 1):
        word = before[-back]
        ahead = before[-back - 1] if back < len(before) else ""
        negated = ahead in NEGATIONS or (back + 1 < len(before) and before[-back - 2] in NEGATIONS and ahead in ("to",))
        if word == "than" or word == "als":
            comparative = ahead
            denied = back + 1 < len(before) and before[-back - 2] in NEGATIONS
            if comparative in _MORE:
                return ("at-most" if denied else "at-least"), back + 1 + denied
            if comparative in _LESS:
                return ("at-least" if denied else "at-most"), back + 1 + denied
            return "", 0
        if word in ("exceed", "exceeds", "exceeding", "überschreiten", "übersteigen"):
            return ("at-most" if negated else "at-least"), back + negated
        if word == "to" and ahead == "up":
            return "at-most", back + 1
        if word == "zu" and ahead == "bis":
            return "at-most", back + 1
        if word in _AT_MOST and not (word in ("by", "bis", "limited") and back > 2):
            return "at-most", back
        if word in _AT_LEAST and not (word in ("from", "over", "after", "ab", "über", "nach") and back > 2):
            return "at-least", back
        if word not in _TRANSPARENT:
            break
    said = " ".join(behind[:3])
    if said.startswith(("or more", "or longer", "or older", "oder mehr", "minimum", "at least", "oder länger")):
        return "at-least", 0
    if said.startswith(("or less", "or fewer", "oder weniger", "maximum", "at most", "or under")):
        return "at-most", 0
    if behind[1:2] and behind[0] in ("in", "im") and behind[1] in ("advance", "voraus"):
        return "at-least", 0
    return "", 0


_PERIODS: Final = {
    "annually": "year",
    "yearly": "year",
    "annum": "year",
    "jährlich": "year",
    "monthly": "month",
    "monatlich": "month",
    "weekly": "week",
    "wöchentlich": "week",
    "daily": "day",
    "täglich": "day",
    "hourly": "hour",
}


def rate(behind: Sequence[str]) -> str:
    """What a quantity is said per, as the words behind it say: `a year`, `per person`, `monatlich`; or nothing."""
    for at, word in enumerate(behind):
        if word in _PERIODS:
            return _PERIODS[word]
        if word in ("per", "pro", "je", "each", "every") or (word in ("a", "an", "im", "in") and at == 0):
            each = behind[at + 1] if at + 1 < len(behind) else ""
            if each in ("a", "any", "calendar") and at + 2 < len(behind):
                each = behind[at + 2]
            if each in HOURS:
                return HOURS[each][0]
            if each and word in ("per", "pro", "je"):
                return _PERIODS.get(each, each)
    return ""


PLACES: Final = {
    form: names[0]
    for names in map(
        _list,
        (
            "eu europe european europa europaisch eea",
            "us usa states american america",
            "uk britain kingdom british england",
            "germany german deutschla",
            "france french frankreic",
            "austria osterreic austrian",
            "switzerla schweiz swiss",
            "spain spanish spanien",
            "italy italian italien",
            "ireland irish irland",
            "netherlan dutch niederlan",
            "poland polish polen",
            "canada canadian kanada",
            "india indian indien",
            "china chinese",
            "japan japanese",
            "australia australia",
            "brazil brasilien",
            "singapore singapur",
            "california californi",
            "york",
            "berlin",
            "munich munchen",
            "london",
            "paris",
            "apac asia asien",
            "emea",
            "africa afrika",
        ),
    )
    for form in names
}
"""Places by one of their names; stems are cut after nine letters, as `stem` cuts them."""

QUALIFIERS: Final = _set("""
full-time part-time fulltime parttime permanent temporary fixed-term contractor contractors freelancer freelancers
consultant consultants intern interns trainee trainees apprentice apprentices student students manager managers
executive executives director directors supervisor supervisors officer board administrator administrators privileged
senior junior customer customers member members policyholder policyholders supplier suppliers vendor vendors partner
partners visitor visitors guest guests tenant dependant dependants child children adult adults minor minors spouse
basic standard premium plus gold silver platinum enterprise pro free trial business commercial private personal
internal external domestic international foreign abroad overseas local remote onsite new existing former electronic
digital paper physical first second third initial final subsequent additional extra further special exceptional
emergency urgent critical severe high medium low minor major weekday weekdays weekend weekends monday tuesday wednesday
thursday friday saturday sunday economy summer winter gross net parental maternity paternity sick annual bereavement
motor home travel health life flood fire storm theft water glass import export draft test production single family
married short-term long-term monthly annually quarterly weekly daily yearly public confidential restricted secret
partial early late hazardous large small heavy light other different
vollzeit teilzeit befristet befristete unbefristet freiberufler auszubildende praktikant praktikanten werkstudent
führungskraft führungskräfte vorstand leitende gäste besucher lieferant lieferanten kunde kunden mitglied mitglieder
basis standardtarif premiumtarif gewerblich gewerbliche privat private intern interne extern externe inland ausland
inländisch ausländisch neu neue bestehend erste ersten zweite zweiten dritte zusätzlich zusätzliche weitere sonderurlaub
brutto netto elternzeit mutterschutz krankheit sommer winter wochenende wochentag feiertag montag dienstag mittwoch
donnerstag freitag samstag sonntag vertraulich vertrauliche öffentlich monatlich jährlich wöchentlich täglich
schwerbehinderte minderjährige kinder
""")
"""What narrows whom or what a sentence is about: where it stands in one of two alone, they speak of different cases."""

OF_DOCUMENTS: Final = _set("""
effective effect takes date dated version last updated update revised revision reviewed review published issued issue
created valid validity document policy terms agreement approved next
stand gültig datum fassung geändert aktualisiert veröffentlicht erstellt geprüft prüfung dokument richtlinie kraft tritt
""")
"""What documents say of themselves with a date."""

SAYING_NO: Final = (
    NEGATIONS | DENYING.keys() | frozenset(word for word, said in MODALS.items() if said in ("forbidden", "optional"))
)
"""Without one of these in either, no two sentences have opposite polarity."""
