"""`muniment diff`: what is different between two versions of a document."""

from urllib.parse import urlencode

from app.cli.client import Server
from app.cli.connect import asking
from app.cli.console import Failed, say, say_json
from app.domain.access import PrincipalRef
from app.settings import Settings


def diff(
    settings: Settings,
    document: str,
    old: str,
    new: str,
    person: PrincipalRef | None,
    *,
    collection: str | None,
    as_json: bool,
) -> None:
    """Show it. `old` and `new` are each a version's number, or a time at which it was in force."""
    asked = dict([_end("from", old), _end("to", new)])
    with asking(settings, person) as server:
        id = document if document.startswith("doc_") else _id_of(server, document, collection)
        path = f"/v1/documents/{id}/diff?{urlencode(asked)}"
        if as_json:
            say_json(server.get(path))
        else:
            say(server.text(path).rstrip("\n"))


def _end(name: str, stated: str) -> tuple[str, str]:
    return (name, stated) if stated.isascii() and stated.isdecimal() else (f"{name}_as_of", stated)


def _id_of(server: Server, uri: str, collection: str | None) -> str:
    """The document with this uri; the API lists by a part of it, so the rest is passed over."""
    asked = {"q": uri[:200], "limit": "200"} | ({"collection": collection} if collection else {})
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = server.get("/v1/documents?" + urlencode(asked | ({"cursor": cursor} if cursor else {})))
        found += [each["document_id"] for each in page["documents"] if each["uri"] == uri]
        cursor = page["cursor"]
    if not found:
        raise Failed(f"No document in force that you may see has the uri {uri}. Give its id: doc_...")
    if len(found) > 1:
        raise Failed(f"Several collections have a document {uri}. Say which with --collection.")
    return found[0]
