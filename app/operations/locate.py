"""Where sources may fetch from: what the operator allows, and nothing else of the server's files or network."""

import os
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, unquote, urlsplit

from app.domain.errors import Fault, Invalid, NotPermitted
from app.domain.sources import SourceSettings
from app.ports import Ports

SETTING = "MUNIMENT_SOURCES__ALLOW"
WEBHOOK_SETTING = "MUNIMENT_WEBHOOKS__ALLOW"

_NO_PLACES = ("contact",)
"""Options with addresses that nothing is fetched from."""

_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}


def check_places(ports: Ports, settings: SourceSettings) -> None:
    """As `check_location`, of a source's location and of every address that its options hold."""
    check_location(ports, settings.location)
    for name, value in settings.options.items():
        for part in re.split(r"[\s,]+", value) if name not in _NO_PLACES else ():
            if "://" in part:
                check_location(ports, part)
            elif name == "hosts" and part:
                check_location(ports, f"https://{part}/")


def check_location(ports: Ports, location: str) -> None:
    """Pass if documents may be fetched from there. Raises `Invalid` for what is no place, `NotPermitted` otherwise.

    A path counts where it really leads, links and `..` resolved; a URL, by its scheme, host, port and whole parts of
    its path. Whether there is anything is not looked at: the answer tells nothing of what lies outside.
    """
    place = _place(location)
    if not any(_covers(_place(allowed), place) for allowed in ports.source_locations):
        raise NotPermitted(
            f"This server fetches nothing from there. Whoever runs it allows places with {SETTING}: "
            "paths and URLs, with commas between."
        )


def check_webhook(locations: Sequence[str], url: str) -> None:
    """Pass if a webhook may be at that URL, as `check_location` judges places, by these.

    Raises `Invalid` or `NotPermitted`.
    """
    try:
        place = _place(url)
    except Invalid:
        place = ("", ())
    scheme, _, address = place[0].partition("://")
    if scheme not in ("http", "https") or address.startswith(":") or "?" in url or "#" in url:
        fault = Fault(detail="Write it as https://HOST/PATH, without a password, ? or #.", pointer="/url")
        raise Invalid("A webhook cannot be there.", faults=(fault,))
    if not any(_covers(_place(allowed), place) for allowed in locations):
        raise NotPermitted(
            f"This server tells nobody there. Whoever runs it allows addresses with {WEBHOOK_SETTING}: "
            "URLs, with commas between."
        )


Place = tuple[str, tuple[str, ...]]
"""Scheme, host and port; then the parts of the path."""


def _place(location: str) -> Place:
    text = location.strip()
    if "::" in text or "\\" in text or not text.isprintable():
        raise _no_place("It is no plain path or URL.")
    if "://" not in text:
        if (host := _scp_host(text)) is not None:
            return _place(f"ssh://{host}/{text.partition(':')[2].lstrip('/')}")
        return _path(text)
    try:
        url = urlsplit(text)
        port = url.port or _PORTS.get(url.scheme.lower(), 0)
    except ValueError:
        raise _no_place("It is no URL.") from None
    if url.scheme.lower() == "file":
        if url.netloc or "?" in text or "#" in text:  # connectors would take them for a part of the path
            raise _no_place("A file URL has a path and nothing else.")
        return _path(unquote(url.path))
    if url.password is not None or (url.username is not None and url.scheme.lower() in ("http", "https")):
        raise _no_place("It holds a password. Connectors take secrets from the server's environment.")
    return f"{url.scheme.lower()}://{_host(url)}:{port}", _parts(posixpath.normpath("/" + unquote(url.path)))


def _path(text: str) -> Place:
    if not text.startswith("/"):
        raise _no_place("Write a path from the root of the server's file system, or a URL.")
    return "file", _parts(os.path.realpath(text))


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def _host(url: SplitResult) -> str:
    return (url.hostname or "").lower().rstrip(".")


def _scp_host(text: str) -> str | None:
    """The host of git's `user@host:path`."""
    host, colon, _ = text.partition(":")
    return host if colon and "/" not in host and "@" in host else None


def _covers(allowed: Place, place: Place) -> bool:
    return allowed[0] == place[0] and place[1][: len(allowed[1])] == allowed[1]


def _no_place(detail: str) -> Invalid:
    return Invalid("The location cannot be used.", faults=(Fault(detail=detail, pointer="/location"),))
