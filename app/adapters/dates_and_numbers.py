"""Numbers, dates, amounts and account numbers: what is written in many ways, as one extra term each."""

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

_WRITTEN: Final = re.compile(
    rf"""
    (?P<iban>\b[A-Z]{{2}}\d{{2}}(?:\ ?[A-Z0-9]{{4}}){{2,7}}(?:\ ?[A-Z0-9]{{1,4}})?\b)
  | (?<![\w.-])(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})(?![\d-])
  | (?<![\w./])(?P<d>\d{{1,2}})(?P<sign>[./])\ ?(?P<m>\d{{1,2}})(?P=sign)\ ?(?P<y>\d{{4}})(?!\d)
  | (?<!\w)(?P<day>\d{{1,2}})(?:\.|st|nd|rd|th|º)?\ (?:de\ )?(?P<month>{_MONTH})\.?,?
      \ (?:de\ |del\ )?(?P<year>\d{{4}})(?!\d)
  | (?<!\w)(?P<month2>{_MONTH})\.?\ (?P<day2>\d{{1,2}})(?:st|nd|rd|th)?,?\ (?P<year2>\d{{4}})(?!\d)
  | (?<![\d.])(?P<grouped>\d{{1,3}}(?:\.\d{{3}})+)(?![\d.])
  | (?<!\d)(?<!\d[\ .])(?P<spaced>\d{{1,3}}(?:\ \d{{3}})+)(?![\ .]?\d)
  | §+\ ?(?P<section>\d+[a-z]?)
  | (?P<clause>\d+[a-z]?(?:\(\w{{1,4}}\))+)
  | (?P<percent>%|\b(?:percent|per\ cent|prozent|pour\ cent|pourcent|por\ ciento|procent|prosent|percento)\b)
  | (?P<eur>€|\beuros?\b|\bEUR\b) | (?P<usd>\$|\bdollars?\b|\bUSD\b) | (?P<gbp>£|\bGBP\b)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MAY_BE_WRITTEN: Final = re.compile(r"[\d%€$£§]|euro|percent|prozent|dollar|cent|procent|prosent|ciento", re.IGNORECASE)


def plain_numbers(text: str) -> str:
    """Without the signs between thousands, where they are certain, and with a point for the decimals."""
    if not any("0" <= sign <= "9" for sign in text):
        return text
    text = _POINTS.sub(lambda found: found.group().replace(".", ""), _THOUSANDS.sub("", text))
    return _DECIMAL_COMMA.sub(".", text)


def written_otherwise(text: str) -> list[str]:
    """One word for each date, amount and the like, whichever way it is written; ambiguous ones have several."""
    if not _MAY_BE_WRITTEN.search(text):
        return []
    return [word for found in _WRITTEN.finditer(text) for word in _one_way(found)]


def _one_way(found: "re.Match[str]") -> Iterator[str]:
    part = found.groupdict()
    kind = found.lastgroup
    if part["iban"]:
        yield part["iban"].replace(" ", "").casefold()
    elif part["d"]:
        yield from _dates(part["y"], part["m"], part["d"])
        if part["sign"] == "/":
            yield from _dates(part["y"], part["d"], part["m"])
    elif part["month"] or part["month2"]:
        month = _MONTHS[(part["month"] or part["month2"]).casefold()]
        yield from _dates(part["year"] or part["year2"], str(month), part["day"] or part["day2"])
    elif part["grouped"] or part["spaced"]:
        yield re.sub("[. ]", "", part["grouped"] or part["spaced"])
    elif part["section"]:
        yield f"§{part['section'].casefold()}"
    elif part["clause"]:
        yield part["clause"].casefold()
    elif kind in ("percent", "eur", "usd", "gbp"):
        yield f"%{kind}"


def _dates(year: str, month: str, day: str) -> Iterator[str]:
    if 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
        yield f"{year}-{int(month):02}-{int(day):02}"
