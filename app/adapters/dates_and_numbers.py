"""Numbers, dates, amounts and account numbers: what is written in many ways, as one extra term each.

Apart from the reading of numbers in `app/domain/claims.py`, although both know months and signs between thousands. Here
a text of any language is made to be found, in every sense that it may have; what changes here needs another fingerprint
of the analyzer, and every index anew. There a sentence of two languages is read for what it claims, in one sense or
none.
"""

import re
from collections.abc import Iterator
from typing import Final

_SPACES: Final = "\u00a0\u2009\u202f"
_THOUSANDS: Final = re.compile(rf"(?<=\d)[,'{_SPACES}](?=\d{{3}}(?!\d))")
_POINTS: Final = re.compile(r"(?<![\d.])\d{1,3}(?:(?:\.\d{3}){2,}(?![\d.])|(?:\.\d{3})+(?=,\d{1,2}(?!\d)))")
_DECIMAL_COMMA: Final = re.compile(r"(?<=\d),(?=\d{1,2}(?![\d,]))")

_MONTH_NAMES: Final = (
    "january jan januar jänner janvier enero gennaio januari janeiro tammikuuta stycznia",
    "february feb februar février fevrier febrero febbraio februari fevereiro helmikuuta lutego",
    "march mar märz maerz mars marzo maart março marco marts maaliskuuta marca",
    "april apr avril abril aprile huhtikuuta kwietnia",
    "may mai mayo maggio mei maio maj toukokuuta maja",
    "june jun juni juin junio giugno junho kesäkuuta czerwca",
    "july jul juli juillet julio luglio julho heinäkuuta lipca",
    "august aug août aout agosto augustus augusti elokuuta sierpnia",
    "september sep sept septembre septiembre settembre setembro syyskuuta września",
    "october oct oktober okt octobre octubre ottobre outubro lokakuuta października",
    "november nov novembre noviembre novembro marraskuuta listopada",
    "december dec dezember dez décembre decembre diciembre dicembre dezembro desember joulukuuta grudnia",
)
_MONTHS: Final = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
_MONTH: Final = "|".join(sorted(_MONTHS, key=len, reverse=True))

_NUMBER: Final = re.compile(r"\d+")
_AT_NUMBER: Final = re.compile(
    rf"""
    (?<![\w.-])(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})(?![\d-])
  | (?<![\w./])(?P<d>\d{{1,2}})(?P<sign>[./])\ ?(?P<m>\d{{1,2}})(?P=sign)\ ?(?P<y>\d{{4}})(?!\d)
  | (?<!\w)(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th|º)?\ (?:de\ )?(?P<month>{_MONTH})\.?,?
      \ (?:del?\ )?(?P<year>\d{{4}})(?!\d)
  | (?<![\d.])(?P<grouped>\d{{1,3}}(?:\.\d{{3}})+)(?![\d.])
  | (?<!\d[\ .])(?P<spaced>\d{{1,3}}(?:\ \d{{3}})+)(?![\ .]?\d)
  | (?P<clause>\d+[a-z]?(?:\(\w{{1,4}}\))+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_MONTH: Final = max(map(len, _MONTHS))
_MONTH_BEFORE: Final = re.compile(rf"(?<!\w)({_MONTH})\.?\ $", re.IGNORECASE)
_DAY_AND_YEAR: Final = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?,?\ (\d{4})(?!\d)")
_IBAN: Final = re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_PARAGRAPH: Final = re.compile(r"§+ ?(\d+[a-z]?)", re.IGNORECASE)

UNITS: Final = {
    **dict.fromkeys(("percent", "prozent", "pourcent", "procent", "prosent", "percento"), "%"),
    **dict.fromkeys(("euro", "euros", "eur"), "€"),
    **dict.fromkeys(("dollar", "dollars", "usd"), "$"),
    **dict.fromkeys(("gbp",), "£"),
}
"""Words that have a sign: each is found by the other."""
_SIGNS: Final = "%€$£"


def plain_numbers(text: str) -> str:
    """Without the signs between thousands, where they are certain, and with a point for the decimals."""
    text = _POINTS.sub(lambda found: found.group().replace(".", ""), _THOUSANDS.sub("", text))
    return _DECIMAL_COMMA.sub(".", text)


def written_otherwise(text: str) -> list[str]:
    """One word for each date, amount and the like, whichever way it is written; ambiguous ones have several."""
    words = [sign for sign in _SIGNS if sign in text for _ in range(text.count(sign))]
    if "§" in text:
        words += [f"§{number.casefold()}" for number in _PARAGRAPH.findall(text)]
    for number in _NUMBER.finditer(text):
        at = number.start()
        if found := _AT_NUMBER.match(text, at):
            words += _one_way(found)
        elif date := _DAY_AND_YEAR.match(text, at):
            if month := _MONTH_BEFORE.search(text, max(0, at - _LONGEST_MONTH - 2), at):
                words += _dates(date[2], str(_MONTHS[month[1].casefold()]), date[1])
        elif at >= 2 and (account := _IBAN.match(text, at - 2)) and not text[at - 3 : at - 2].isalnum():
            words.append(account.group().replace(" ", "").casefold())
    return words


def _one_way(found: "re.Match[str]") -> Iterator[str]:
    part = found.groupdict()
    if part["d"]:
        yield from _dates(part["y"], part["m"], part["d"])
        if part["sign"] == "/":
            yield from _dates(part["y"], part["d"], part["m"])
    elif part["month"]:
        yield from _dates(part["year"], str(_MONTHS[part["month"].casefold()]), part["day"])
    elif part["grouped"] or part["spaced"]:
        yield re.sub("[. ]", "", part["grouped"] or part["spaced"])
    elif part["clause"]:
        yield part["clause"].casefold()


def _dates(year: str, month: str, day: str) -> Iterator[str]:
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        yield f"{year}-{int(month):02}-{int(day):02}"
