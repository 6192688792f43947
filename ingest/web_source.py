"""Pages of a site as a source: those of a list, of a sitemap, or those that links lead to.

We come as a guest: robots.txt is obeyed, pauses are kept, nothing is asked for again that has not changed, and nothing
is followed to another host unless the source's options name it.
"""

import hashlib
import re
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import unescape
from pathlib import PurePosixPath
from time import sleep
from typing import IO, Final
from urllib.parse import urljoin
from xml.parsers import expat

import httpx
from protego import Protego

from app.domain.errors import Invalid, NotFound, NotPermitted, TooLarge, Unavailable, UnsupportedMedia
from app.domain.instants import Instant, parse_instant
from app.domain.sources import Cursor, Fetched, Item, Page, SourceSettings
from ingest.gate import MAX_FILE_BYTES
from ingest.listing import PAGE_ITEMS, Options, Paths, Position, count, paged, position_of, tidy, word
from ingest.web_client import MAX_URL_CHARS, NAME, Answer, Resolve, WebClient, gunzipped, resolved

MAX_SITEMAP_BYTES: Final = 52_428_800
"""As the protocol has it (sitemaps.org)."""
_MAX_SITEMAP_DEPTH: Final = 3
_MAX_XML_DEPTH: Final = 20
_MAX_ROBOTS_BYTES: Final = 512_000
"""RFC 9309 asks for 500 KiB."""
_MAX_REDIRECTS: Final = 5
_MAX_START_URLS: Final = 1_000
_MAX_CRAWL_DELAY_S: Final = 300
_MAX_LINKS: Final = 5_000
_KEPT_BYTES: Final = 20_000_000
"""Of pages that were read for their links and may be fetched next."""
_HTML_READ_BYTES: Final = 1_000_000
"""Of a page, for its links and canonical address."""
_TRUTHFUL_DATE: Final = re.compile(r"[A-Za-z]{3}, \d{2} [A-Za-z]{3} \d{4} \d{2}:\d{2}:\d{2} GMT")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,200}"')
_NEVER_DOCUMENTS: Final = ("image", "audio", "video", "font")
_ASSETS: Final = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".webp",
        ".ico",
        ".css",
        ".js",
        ".json",
        ".xml",
        ".rss",
        ".mp3",
        ".mp4",
        ".webm",
        ".woff",
        ".woff2",
        ".ttf",
        ".zip",
        ".gz",
        ".tar",
        ".exe",
        ".dmg",
        ".iso",
    ]
)
"""What links lead to that is never a document."""
_HTML: Final = ("text/html", "application/xhtml+xml")


def open_web(
    settings: SourceSettings,
    *,
    private_networks_allowed: bool = False,
    page_items: int = PAGE_ITEMS,
    max_bytes: int = MAX_FILE_BYTES,
    resolve: Resolve = resolved,
    pause: Callable[[float], None] = sleep,
) -> "WebSource":
    """The `Source` of web pages. The location is the URL of a sitemap (if it ends in `.xml` or `.xml.gz`, or with the
    option `sitemap`), or of a page.

    Options: `pages` (further pages, parted by spaces or lines), `crawl_depth` (links followed below the folder of the
    location, 0), `hosts` (others that may be gone to, parted by commas; never into a private network),
    `include` and `exclude` (patterns of paths, see `Paths`), `requests_per_second` (2; robots.txt may ask for fewer),
    `max_pages` (50,000), `trust_lastmod` (true: a page whose sitemap says that it is as it was is not asked for),
    `contact` (an address that is shown to the site).
    """
    options = Options(settings)
    location = _normal(settings.location)
    if location is None:
        raise Invalid("The location is an address such as https://example.org/sitemap.xml.")
    hosts = {_host(location), *(each.strip().lower() for each in options.text("hosts").split(",") if each.strip())}
    further = [_normal(each) for each in options.text("pages").split()]
    pages = [url for url in further if url is not None and _host(url) in hosts]
    if len(pages) < len(further) or len(pages) > _MAX_START_URLS:
        raise Invalid(
            "The option 'pages' is up to 1,000 addresses on the location's host, or on one that 'hosts' names."
        )
    contact = options.text("contact")
    if not re.fullmatch(r"[\x21-\x7e]{0,200}", contact):
        raise Invalid("The option 'contact' is an e-mail address or a URL.")
    plan = _Plan(
        starts=(location, *pages),
        hosts=frozenset(hosts),
        paths=options.paths(),
        all_sitemaps=options.flag("sitemap"),
        depth=int(options.number("crawl_depth", 0, least=0, most=10)),
        most=int(options.number("max_pages", 50_000, least=1, most=1_000_000)),
        trust_lastmod=options.flag("trust_lastmod"),
    )
    per_second = options.number("requests_per_second", 2, least=0.01, most=20)
    options.refuse_others()
    client = WebClient(
        private_host=location.raw_host.decode("ascii") if private_networks_allowed else None,
        seconds_between=1 / per_second,
        contact=contact,
        resolve=resolve,
        pause=pause,
    )
    return WebSource(client, plan, page_items=page_items, max_bytes=max_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What of the web is meant."""

    starts: tuple[httpx.URL, ...]
    hosts: frozenset[str]
    paths: Paths
    all_sitemaps: bool
    depth: int
    most: int
    trust_lastmod: bool

    def wants(self, url: httpx.URL) -> bool:
        return _host(url) in self.hosts and self.paths.wants(url.path.removeprefix("/"))

    def is_sitemap(self, url: httpx.URL) -> bool:
        return self.all_sitemaps or url.path.endswith((".xml", ".xml.gz"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    url: httpx.URL
    lastmod: str = ""


class WebSource:
    """The `Source` port on a site, and `Revalidates`. A listing that was broken off is read again up to where it was,
    and goes on there if it is still the same; else it begins anew.
    """

    lists_all = True

    def __init__(self, client: WebClient, plan: _Plan, *, page_items: int, max_bytes: int) -> None:
        self._client = client
        self._plan = plan
        self._page_items = page_items
        self._max_bytes = max_bytes
        self._seconds_between = client.seconds_between
        self._rules: dict[str, Protego] = {}
        self._kept: OrderedDict[str, Fetched] = OrderedDict()
        weakref.finalize(self, client.close)

    def pages(self, since: Cursor | None) -> Iterator[Page]:
        try:
            yield from paged(self._items(position_of(since)), size=self._page_items)
        except (NotPermitted, NotFound, TooLarge, UnsupportedMedia) as error:
            raise Invalid(error.detail) from error

    def fetch(self, item: Item) -> Fetched:
        kept = self._kept.pop(item.key, None)
        return kept if kept is not None else self._asked(item, {})

    def fetch_unless(self, item: Item, held: str) -> Fetched | None:
        """As `fetch`; `None` if the site says that it is still what we fetched with the etag `held`."""
        if item.key not in self._kept and _ENTITY_TAG.fullmatch(held):
            header = {"If-None-Match": held}
        elif item.key not in self._kept and _TRUTHFUL_DATE.fullmatch(held):
            header = {"If-Modified-Since": held}
        else:
            return self.fetch(item)
        try:
            return self._asked(item, header)
        except _Unchanged:
            return None

    def _asked(self, item: Item, header: dict[str, str]) -> Fetched:
        """A page that the site itself fails at is that page's trouble; the rest of the site may be well."""
        try:
            return self._fetched(item, header)
        except _Failing as error:
            raise NotFound("The site fails at this page, so it cannot be had now.") from error

    # -- listing

    def _items(self, position: Position) -> Iterator[tuple[Item, Position]]:
        """What comes after the position, if what comes before it is what was listed then; else all from the start."""
        done, seen = count(position, "done"), hashlib.sha256()
        number = 0
        for number, listed in enumerate(self._listed(), start=1):
            seen.update(str(listed.url).encode() + b"\n")
            if number > self._plan.most:
                raise Invalid(f"The site has more than {self._plan.most:,} pages: narrow it, or raise 'max_pages'.")
            if number > done:
                yield self._item(listed), {"done": number, "seen": seen.hexdigest()[:32]}
            elif number == done and seen.hexdigest()[:32] != word(position, "seen"):
                break
        else:
            if number >= done:
                return
        yield from self._items({})

    def _item(self, listed: _Listed) -> Item:
        trusted = listed.lastmod if self._plan.trust_lastmod else ""
        return Item(
            key=str(listed.url),
            etag=f"lastmod:{trusted}" if trusted else None,
            valid_from=_instant(trusted),
            locator=str(listed.url),
        )

    def _listed(self) -> Iterator[_Listed]:
        for start in self._plan.starts:
            self._robots(start)  # a site that cannot be reached is no empty site
            if self._plan.is_sitemap(start):
                yield from (each for each in self._sitemap(start, depth=1) if self._plan.wants(each.url))
            elif self._plan.depth:
                yield from self._crawled(start)
            else:
                yield _Listed(url=start)

    def _sitemap(self, url: httpx.URL, *, depth: int) -> Iterator[_Listed]:
        """What a sitemap lists, in its order, with the sitemaps of an index one after the other."""
        with tempfile.TemporaryFile() as file:
            with self._reached(url, max_bytes=MAX_SITEMAP_BYTES) as (final, answer):
                _expect_found(answer, "The sitemap")
                for piece in answer.body:
                    file.write(piece)
            file.seek(0)
            for place in _locations(file):
                there = _joined(str(final), place.address)
                if there is None or _host(there) not in self._plan.hosts:
                    continue
                if not place.is_sitemap:
                    yield _Listed(url=there, lastmod=place.lastmod)
                elif depth < _MAX_SITEMAP_DEPTH:
                    yield from self._sitemap(there, depth=depth + 1)
                else:
                    raise Invalid("The sitemaps name sitemaps that name sitemaps, deeper than is read.")

    def _crawled(self, start: httpx.URL) -> Iterator[_Listed]:
        """A page and those that links lead to, nearest first, within its folder. Their addresses are held."""
        folder = start.path.rpartition("/")[0] + "/"
        frontier, seen = [start], {start}
        for depth in range(self._plan.depth + 1):
            following: list[httpx.URL] = []
            for url in frontier:
                links = self._links(url) if depth < self._plan.depth or url == start else ()
                if links is None:
                    continue
                if self._plan.wants(url):
                    yield _Listed(url=url)
                for link in links if depth < self._plan.depth else ():
                    inside = _host(link) == _host(start) and link.path.startswith(folder)
                    if inside and link not in seen and PurePosixPath(link.path).suffix.lower() not in _ASSETS:
                        seen.add(link)
                        following.append(link)
                        if len(seen) > self._plan.most:
                            raise Invalid(f"The site has more than {self._plan.most:,} pages: narrow it.")
            frontier = following

    def _links(self, url: httpx.URL) -> Sequence[httpx.URL] | None:
        """Where a page links to; nothing if it is no page, `None` if it is not there or not for us."""
        item = Item(key=str(url), locator=str(url))
        try:
            fetched = self._fetched(item, {})
        except (TooLarge, UnsupportedMedia):
            return ()
        except (NotFound, NotPermitted):
            if url in self._plan.starts:
                raise  # a site whose first page is gone is no empty site
            return None
        self._keep(item.key, fetched)
        if (fetched.media_type or "").partition(";")[0].strip().lower() not in _HTML:
            return ()
        links = (_joined(fetched.uri or item.key, each) for each in _Markup(fetched.content).links)
        return [link for link in dict.fromkeys(links) if link is not None]

    def _keep(self, key: str, fetched: Fetched) -> None:
        """For `fetch`, which is likely to come next: as many of the last pages as is bearable."""
        self._kept[key] = fetched
        while sum(len(each.content) for each in self._kept.values()) > _KEPT_BYTES or len(self._kept) > 1000:
            self._kept.popitem(last=False)

    # -- fetching

    def _fetched(self, item: Item, header: dict[str, str]) -> Fetched:
        url = _normal(item.key)
        if url is None or _host(url) not in self._plan.hosts:
            raise NotFound("It is not a page of this source.")
        with self._reached(url, max_bytes=self._max_bytes, header=header) as (final, answer):
            if answer.status == 304 and header:
                raise _Unchanged("It is as it was.")
            _expect_found(answer, "The page")
            media_type = answer.header.get("content-type", "")
            if media_type.partition("/")[0].strip().lower() in _NEVER_DOCUMENTS:
                raise UnsupportedMedia("It is a picture, sound or film, which is not read here.")
            content = b"".join(answer.body)
        canonical = final
        if media_type.partition(";")[0].strip().lower() in _HTML:
            stated = _joined(str(final), _Markup(content).canonical or "")
            if stated is not None and _host(stated) in self._plan.hosts:
                canonical = stated
        return Fetched(
            content=content,
            filename=PurePosixPath(final.path).name[:200] or "index.html",
            media_type=tidy(media_type, max_chars=200),
            etag=_validator(answer),
            uri=str(canonical) if str(canonical) != item.key else None,
        )

    @contextmanager
    def _reached(
        self, url: httpx.URL, *, max_bytes: int, header: dict[str, str] | None = None
    ) -> Iterator[tuple[httpx.URL, Answer]]:
        """The answer at the end of the redirects, and where that was. Each step is asked of robots.txt."""
        for _ in range(_MAX_REDIRECTS + 1):
            if not self._robots(url).can_fetch(str(url), NAME):
                raise NotPermitted("The site's robots.txt asks that this is not read.")
            with self._client.get(url, max_bytes=max_bytes, header=header) as answer:
                following = self._redirected(url, answer)
                if following is None:
                    yield url, answer
                    return
            url = following
        raise NotFound("The site sends us from one page to the next without an end.")

    def _redirected(self, url: httpx.URL, answer: Answer) -> httpx.URL | None:
        if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.header:
            return None
        there = _joined(str(url), answer.header["location"])
        if there is None or _host(there) not in self._plan.hosts or (url.scheme, there.scheme) == ("https", "http"):
            raise NotPermitted("The site sends us to another host, which the option 'hosts' does not name.")
        return there

    def _robots(self, url: httpx.URL) -> Protego:
        """The rules of a site (RFC 9309): none if it has none, and no visit while it cannot tell."""
        origin = f"{url.scheme}://{_host(url)}"
        if origin in self._rules:
            return self._rules[origin]
        rules = Protego.parse(self._robots_text(httpx.URL(f"{origin}/robots.txt")))
        delay = rules.crawl_delay(NAME) or 0
        if delay > _MAX_CRAWL_DELAY_S:
            raise Invalid(f"The site's robots.txt asks for a pause of {delay:,.0f} seconds after each page.")
        self._client.seconds_between = max(self._client.seconds_between, float(delay))
        self._rules[origin] = rules
        return rules

    def _robots_text(self, url: httpx.URL) -> str:
        for _ in range(_MAX_REDIRECTS + 1):
            with self._client.get(url, max_bytes=100 * _MAX_ROBOTS_BYTES) as answer:
                following = self._redirected(url, answer)
                if following is None:
                    if answer.status == 429 or answer.status >= 500:
                        raise Unavailable("The site cannot tell its rules (robots.txt) now. Try again later.")
                    return (
                        _first(answer.body, _MAX_ROBOTS_BYTES).decode("utf-8", "replace")
                        if answer.status == 200
                        else ""
                    )
            url = following
        return ""


class _Unchanged(NotFound):
    """The site answered that what we hold is still right."""


class _Failing(Unavailable):
    """The site had an error of its own."""


def _expect_found(answer: Answer, what: str) -> None:
    """Raises for every answer but 200, as that answer means it."""
    status = answer.status
    if status == 200:
        return
    if status in (401, 403, 407, 451):
        raise NotPermitted(f"{what} is refused to us by the site ({status}).")
    if status >= 500 and status not in (502, 503, 504):
        raise _Failing(f"{what} cannot be had, as the site itself fails at it ({status}).")
    if status in (408, 425, 429) or status >= 500:
        raise Unavailable(f"{what} cannot be had from the site now ({status}). Try again later.")
    raise NotFound(f"{what} is not there any more ({status}).")


def _first(pieces: Iterator[bytes], most: int) -> bytes:
    held = b""
    for piece in pieces:
        held += piece
        if len(held) >= most:
            break
    return held[:most]


def _validator(answer: Answer) -> str | None:
    """What to ask with the next time; an entity tag before a date."""
    tag, date = answer.header.get("etag", ""), answer.header.get("last-modified", "")
    if _ENTITY_TAG.fullmatch(tag):
        return tag
    return date if _TRUTHFUL_DATE.fullmatch(date) else None


def _normal(address: str) -> httpx.URL | None:
    """An address as a key: http or https, without user, fragment, default port or steps upwards; `None` for others."""
    address = address.strip()
    if not 0 < len(address) <= MAX_URL_CHARS or re.search(r"[\x00-\x20\x7f\ud800-\udfff\\]", address):
        return None
    try:
        url = httpx.URL(address)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            return None
        path, mark, query = url.raw_path.decode("ascii").partition("?")
        url = httpx.URL(f"{url.scheme}://{_host(url)}{_flat(path)}{mark if query else ''}{query}")
    except (httpx.InvalidURL, ValueError, UnicodeError):
        return None
    return url if len(str(url)) <= MAX_URL_CHARS else None


def _joined(at: str, address: str) -> httpx.URL | None:
    """Where an address leads that was written on a page."""
    try:
        return _normal(urljoin(at, address))
    except ValueError:
        return None


def _flat(path: str) -> str:
    """A path without steps upwards (RFC 3986, 5.2.4), however they are written."""
    parts: list[str] = []
    steps = re.sub("%2e", ".", path, flags=re.IGNORECASE).split("/")[1:] or [""]
    for step in steps:
        if step == "..":
            del parts[-1:]
        elif step != ".":
            parts.append(step)
    if steps[-1] in (".", ".."):
        parts.append("")
    return "/" + "/".join(parts)


def _host(url: httpx.URL) -> str:
    return url.netloc.decode("ascii").lower()


def _instant(text: str) -> Instant | None:
    try:
        return parse_instant(text) if text else None
    except Invalid:
        return None


# -- sitemaps ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Location:
    """A `<url>` or `<sitemap>` as it is written."""

    address: str = ""
    lastmod: str = ""
    is_sitemap: bool = False


class _Locations:
    """A reader of sitemaps, fed piece by piece. It refuses every document type, and so all entities but XML's own."""

    def __init__(self) -> None:
        self.found: list[_Location] = []
        self._path: list[str] = []
        self._words: list[str] = []
        self._chars = 0
        self._place = _Location()
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._say

    def feed(self, piece: bytes, *, last: bool) -> list[_Location]:
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            raise Invalid("The sitemap is not XML that can be read.") from error
        found, self.found = self.found, []
        return found

    def _refuse(self, *_: object) -> None:
        raise Invalid("The sitemap declares a document type, which no sitemap needs: it is not read.")

    def _start(self, name: str, _: object) -> None:
        self._path.append(name.rpartition(":")[2])
        self._words, self._chars = [], 0
        if len(self._path) > _MAX_XML_DEPTH:
            raise Invalid("The sitemap is nested deeper than any sitemap is.")
        if len(self._path) == 1 and self._path[0] not in ("urlset", "sitemapindex"):
            raise Invalid("What stands at the location is not a sitemap.")
        if len(self._path) == 2:
            self._place = _Location(is_sitemap=self._path[1] == "sitemap")

    def _say(self, words: str) -> None:
        self._chars += len(words)
        if self._chars <= MAX_URL_CHARS:
            self._words.append(words)

    def _end(self, _: str) -> None:
        name = self._path.pop()
        text = "".join(self._words).strip()
        if len(self._path) == 2 and name == "loc":
            self._place = replace(self._place, address=text)
        elif len(self._path) == 2 and name == "lastmod":
            self._place = replace(self._place, lastmod=text[:40])
        elif len(self._path) == 1 and name in ("url", "sitemap") and self._place.address:
            self.found.append(self._place)


def _locations(file: IO[bytes]) -> Iterator[_Location]:
    """What a sitemap says, drawn from the file as it is asked for. It may be packed with gzip."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    pieces = iter(lambda: file.read(16_384), b"")
    reader = _Locations()
    for piece in gunzipped(pieces, max_bytes=MAX_SITEMAP_BYTES) if packed else pieces:
        yield from reader.feed(piece, last=False)
    yield from reader.feed(b"", last=True)


# -- pages ---------------------------------------------------------------------------------------------------------


_TAG: Final = re.compile(r"<(a|base|link)\s([^<>]{1,4000})>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"([a-zA-Z-]{1,20})\s{0,20}=\s{0,20}(\"[^\"]*\"|'[^']*'|[^\s\"'>]+)")
_OPENED: Final = re.compile("<!--|<(?:script|style|textarea)", re.IGNORECASE)
_CLOSED: Final = {
    "<!--": re.compile("-->"),
    "<script": re.compile("</script", re.IGNORECASE),
    "<style": re.compile("</style", re.IGNORECASE),
    "<textarea": re.compile("</textarea", re.IGNORECASE),
}


class _Markup:
    """A page's links and canonical address, as written; in one pass, whatever the page holds."""

    def __init__(self, content: bytes) -> None:
        text = _less_passed_over(content[:_HTML_READ_BYTES].decode("utf-8", "replace"))
        self.links: list[str] = []
        self.canonical: str | None = None
        base = ""
        for tag in _TAG.finditer(text):
            said = {
                name.lower(): unescape(value.strip("\"'")).strip() for name, value in _ATTRIBUTE.findall(tag.group(2))
            }
            kind, address, relation = tag.group(1).lower(), said.get("href", ""), said.get("rel", "").lower().split()
            if kind == "base" and not base:
                base = address
            elif kind == "link" and "canonical" in relation and self.canonical is None and address:
                self.canonical = _under(base, address)
            elif kind == "a" and address and "nofollow" not in relation and len(self.links) < _MAX_LINKS:
                self.links.append(_under(base, address))


def _under(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:
        return ""


def _less_passed_over(text: str) -> str:
    """Without comments, scripts and styles; what is opened and never closed takes the rest with it."""
    kept: list[str] = []
    at = 0
    while opened := _OPENED.search(text, at):
        kept.append(text[at : opened.start()])
        closed = _CLOSED[opened.group().lower()].search(text, opened.end())
        if closed is None:
            return "".join(kept)
        at = closed.end()
    return "".join([*kept, text[at:]])
