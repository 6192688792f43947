"""Where documents are fetched from: registered sources, what they list, and who may read it there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from app.domain.corpus import Attributes
from app.domain.instants import Instant
from app.domain.labels import Label

SourceName = NewType("SourceName", str)
"""Names a source within its collection."""

Cursor = NewType("Cursor", str)
"""Where a listing goes on: opaque to everybody but the source that gave it."""


class Access(StrEnum):
    GRANT = "grant"
    DENY = "deny"


class ForeignKind(StrEnum):
    """What an entry of a source's access list names there."""

    USER = "user"
    GROUP = "group"
    EVERYONE = "everyone"
    """Everybody in the source's organization."""
    EVERYONE_EXCEPT_GUESTS = "everyone-except-guests"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AclEntry:
    """One line of a source's access list, in the source's own names."""

    access: Access
    kind: ForeignKind
    value: str = ""
    """The source's id of a user or group, such as a directory's GUID or an e-mail address; empty for everyone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acl:
    """Who may read an item at its source. No grant: nobody. A deny wins over every grant."""

    entries: frozenset[AclEntry] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing as a source lists it, not fetched yet. `key` names it there for good and becomes the document's uri.

    An item may be one state of several of the same key; then they are listed oldest first, each with its `valid_from`.
    """

    key: str
    etag: str | None = None
    """Changes when the content may have; None: only fetching tells."""
    acl: Acl | None = None
    """None: the source keeps no access list, and the collection's readers hold."""
    gone: bool = False
    """The source says that it was deleted; there is nothing to fetch."""
    title: str | None = None
    author: str | None = None
    valid_from: Instant | None = None
    """When this state began to be true there; of an item that is gone, when it ended."""
    media_type: str | None = None
    label: Label | None = None
    attributes: Attributes = field(default_factory=dict)
    locator: str = ""
    """What `Source.fetch` finds it by, where the key is not enough: a commit, an entry's offset."""
    moved_from: str | None = None
    """The key it had until now, if the source tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a listing, and where the next part begins."""

    items: tuple[Item, ...]
    next: Cursor | None
    """Kept when the page is done with: a run that was broken off goes on here. None: as the page before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An item's content as it was when it was fetched."""

    content: bytes
    filename: str
    media_type: str | None = None
    etag: str | None = None
    """As the source gave it with the content; it may be newer than the listing's."""
    uri: str | None = None
    """A canonical address that stands for the key from now on, such as a page's canonical URL."""
    title: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """A source as it is registered with a collection. Secrets are not here: connectors take them from the
    environment, as their libraries do."""

    name: SourceName
    collection: str
    connector: str
    """`folder`, `git`, `objects`, `web`, `mail` or `push`."""
    location: str
    """A path or URL, as the connector wants it; empty for `push`."""
    options: Mapping[str, str] = field(default_factory=dict)
    schedule: str | None = None
    """Five fields of cron, in UTC; None: only when asked."""
    namespace: str = ""
    """Whose names its access lists use; principals of two directories are never mixed up."""
    paused: bool = False
