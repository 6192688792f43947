"""Secrets by the forms that their issuers give them: text in, spans and kinds out.

A form is looked up by its fixed beginning and read once from there, where no token is already under way: so a text of
nothing but beginnings takes no longer than any other. Placeholders, as in `password=<your password>`, are passed over.
"""

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from app.adapters.words import Words
from app.domain.corpus import Span
from app.domain.redaction import Spotted

SECRET: Final = "secret"

KEY: Final = "private key"
TOKEN: Final = "access token"
CLOUD: Final = "cloud credential"
JWT: Final = "signed token (JWT)"
CONNECTION: Final = "connection string with a password"
PASSWORD: Final = "password"


def _any(_: str) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """What an issuer's secrets begin with, and all of one."""

    kind: str
    begins: str
    pattern: re.Pattern[str]
    valid: Callable[[str], bool] = _any


def _form(kind: str, begins: str, rest: str, valid: Callable[[str], bool] = _any) -> _Form:
    return _Form(kind=kind, begins=begins, pattern=re.compile(re.escape(begins) + rest), valid=valid)


def _is_jwt(text: str) -> bool:
    """Whether its first part is a JOSE header."""
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return False
    return isinstance(header, dict) and "alg" in header


_FORMS: Final = (
    _form(CLOUD, "AKIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _form(CLOUD, "ASIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _form(CLOUD, "AIza", r"[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    _form(CLOUD, "GOCSPX-", r"[A-Za-z0-9_-]{28}"),
    _form(CLOUD, "ya29.", r"[A-Za-z0-9_-]{40,600}"),
    _form(CLOUD, "AccountKey=", r"[A-Za-z0-9+/]{80,90}={0,2}"),
    _form(CLOUD, "SharedAccessKey=", r"[A-Za-z0-9+/]{40,90}={0,2}"),
    *(_form(TOKEN, f"gh{kind}_", r"[A-Za-z0-9]{36,255}") for kind in "pousr"),
    _form(TOKEN, "github_pat_", r"[A-Za-z0-9_]{60,255}"),
    _form(TOKEN, "glpat-", r"[A-Za-z0-9_-]{20,300}"),
    _form(TOKEN, "gldt-", r"[A-Za-z0-9_-]{20,300}"),
    *(_form(TOKEN, f"xox{kind}-", r"[A-Za-z0-9-]{10,250}") for kind in "abeprs"),
    _form(TOKEN, "https://hooks.slack.com/services/", r"[A-Z0-9]{8,15}/[A-Z0-9]{8,15}/[A-Za-z0-9]{20,30}"),
    *(_form(TOKEN, f"{kind}_live_", r"[A-Za-z0-9]{16,250}") for kind in ("sk", "rk")),
    _form(TOKEN, "whsec_", r"[A-Za-z0-9+/]{32,100}"),
    _form(TOKEN, "sk-ant-", r"[A-Za-z0-9_-]{32,250}"),
    _form(TOKEN, "sk-proj-", r"[A-Za-z0-9_-]{32,250}"),
    _form(TOKEN, "SG.", r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _form(TOKEN, "npm_", r"[A-Za-z0-9]{36}"),
    _form(TOKEN, "pypi-", r"AgE[A-Za-z0-9_-]{50,250}"),
    _form(TOKEN, "hf_", r"[A-Za-z0-9]{34,40}"),
    _form(TOKEN, "dop_v1_", r"[a-f0-9]{64}"),
    _form(TOKEN, "mun_", r"[a-z0-9]{40,80}"),
    _form(JWT, "eyJ", r"[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}", _is_jwt),
)
"""AWS, Google, Azure, GitHub, GitLab, Slack, Stripe, Anthropic, OpenAI, SendGrid, npm, PyPI, Hugging Face,
DigitalOcean, Muniment itself, and RFC 7519."""

_KEY_BEGIN: Final = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BODY: Final = re.compile(r"[A-Za-z0-9+/=]{40}")
_HEADERS_CHARS: Final = 400
"""Of what may stand between the first line and the key itself."""
_KEY_END: Final = re.compile(r"-----END (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_KEY_CHARS: Final = 20_000

_LOGIN: Final = re.compile(r"://([^\s:/?#@\"'<>]{0,100}):([^\s/@\"'<>]{4,200})@[A-Za-z0-9.\[-]")
_SCHEME_CHARS: Final = 20

_NAMES: Final = (
    *("password", "passwd", "pwd", "passphrase", "secret", "secret_key", "client_secret", "api_key", "apikey"),
    *("api-key", "access_key", "access_token", "auth_token", "private_key", "secret_access_key", "token", "passwort"),
    *("aws_secret_access_key", "db_password", "contraseña", "mot de passe", "wachtwoord"),
)
_ASSIGNED: Final = re.compile(r"[\"'`*]{0,3} ?(?:=>|:=|=|:| is ) {0,3}[\"'`]?([^\s\"'`<>,;]{8,200})")
_LEAST_ENTROPY_BITS: Final = 2.8
"""A character. Of English words about 2.5 in so short a text; of random letters and digits, above 3."""
_PLACEHOLDER: Final = re.compile(
    r"(?i)x{3,}|\*{3,}|\.{3,}|^[<{$%\[(]|your|example|changeme|change-me|placeholder|redacted|password|secret|dummy|sample"
)

_CODE: Final = re.compile(r"[\[\](){}]|\w\.\w")
"""A call or a type in a programme, not a value."""


class Secrets:
    """The `Detector` of secrets."""

    def spotted(self, text: str) -> list[Spotted]:
        found = [*_keys(text), *_tokens(text), *_logins(text)]
        taken = [each.span for each in found]
        assigned = [
            each
            for each in _assignments(text)
            if not any(span.start < each.span.end and each.span.start < span.end for span in taken[:1000])
        ]
        return [*found, *assigned]


def _spotted(kind: str, start: int, end: int) -> Spotted:
    return Spotted(kind=kind, category=SECRET, span=Span(start=start, end=end), strong=True)


def _keys(text: str) -> Iterator[Spotted]:
    """Blocks that hold a key: a mention of the first line alone is none."""
    at = text.find("-----BEGIN ")
    while at >= 0:
        after = at + 5
        begin = _KEY_BEGIN.match(text, at)
        if begin:
            stop = text.find("-----", begin.end(), begin.end() + _LONGEST_KEY_CHARS)
            stop = stop if stop >= 0 else min(len(text), begin.end() + _LONGEST_KEY_CHARS)
            if _KEY_BODY.search(text, begin.end(), min(stop, begin.end() + _HEADERS_CHARS)):
                end = _KEY_END.match(text, stop)
                after = end.end() if end else stop
                yield _spotted(KEY, at, after)
        at = text.find("-----BEGIN ", after)


def _tokens(text: str) -> Iterator[Spotted]:
    for form in _FORMS:
        at = text.find(form.begins)
        while at >= 0:
            after = at + len(form.begins)
            if not (at and _in_token(text[at - 1])):
                match = form.pattern.match(text, at)
                if match and form.valid(match.group()):
                    yield _spotted(form.kind, at, match.end())
                    after = match.end()
            at = text.find(form.begins, after)


def _in_token(letter: str) -> bool:
    return letter.isalnum() or letter in "_-."


def _logins(text: str) -> Iterator[Spotted]:
    at = text.find("://")
    while at >= 0:
        match = _LOGIN.match(text, at)
        if match and not _PLACEHOLDER.search(match[2]):
            start = at
            while start > 0 and at - start < _SCHEME_CHARS and (text[start - 1].isalnum() or text[start - 1] in "+-."):
                start -= 1
            yield _spotted(CONNECTION, start, match.end(2))
        at = text.find("://", at + 3)


def _assignments(text: str) -> Iterator[Spotted]:
    """What is given the name of a secret and looks like one: long, mixed, and no word."""
    words = Words(text)
    for end in sorted({end for name in _NAMES for end in words.places(name)}):
        match = _ASSIGNED.match(text, end)
        if match and _looks_random(match[1]):
            yield _spotted(PASSWORD, match.start(1), match.end(1))


def _looks_random(value: str) -> bool:
    value = value.rstrip(".)")
    kinds = sum(
        (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)), not value.isalnum())
    )
    mixed = (kinds >= 2 and any(map(str.isdigit, value))) or (kinds > 2 and not _CODE.search(value))
    if len(value) < 8 or not mixed or _PLACEHOLDER.search(value) or "://" in value or value.count("/") > 3:
        return False
    counts = Counter(value)
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return bits >= _LEAST_ENTROPY_BITS
