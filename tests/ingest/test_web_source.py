"""Web pages from a real server on this machine: what is asked of it, and where we do not go however it tempts us."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid, MunimentError, NotFound, NotPermitted, TooLarge, Unavailable, UnsupportedMedia
from app.domain.instants import parse_instant
from app.domain.sources import Item
from ingest import web_client
from ingest.ports import Revalidates
from ingest.web_client import may_be_reached, resolved
from ingest.web_source import WebSource, open_web
from tests import sites
from tests.contracts.places import settings
from tests.sites import Site

PAGE = "<html><head><title>T</title></head><body><p>Words.</p></body></html>"


@pytest.fixture
def site() -> Iterator[Site]:
    with sites.site() as made:
        yield made


def opened(
    location: str,
    *,
    allowed: bool = True,
    max_bytes: int = 100_000,
    resolve: Callable[[str, int], Sequence[str]] = resolved,
    pauses: list[float] | None = None,
    **options: str,
) -> WebSource:
    return open_web(
        settings("web", location, **options),
        private_networks_allowed=allowed,
        max_bytes=max_bytes,
        resolve=resolve,
        pause=(pauses if pauses is not None else []).append,
    )


def keys(source: WebSource) -> list[str]:
    return [item.key for page in source.pages(None) for item in page.items]


def urlset(*addresses: str, more: str = "") -> str:
    listed = "".join(f"<url><loc>{address}</loc>{more}</url>" for address in addresses)
    return f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>'


# -- a guest's manners ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [{"ETag": '"v1"'}, {"ETag": 'W/"v1"'}, {"Last-Modified": "Mon, 01 Jan 2024 09:00:00 GMT"}]
)
def test_a_page_that_has_not_changed_is_not_sent_again(site: Site, header: dict[str, str]) -> None:
    site.put("/a", PAGE)
    site.served["/a"].header.update(header)  # type: ignore[union-attr]
    source = opened(f"{site.url}/a")
    assert isinstance(source, Revalidates)
    item = Item(key=f"{site.url}/a")
    held = source.fetch(item).etag
    assert held == next(iter(header.values()))
    assert source.fetch_unless(item, held) is None
    assert source.fetch_unless(item, held) is None
    assert site.paths(304) == ["/a", "/a"]
    site.put("/a", "<p>Other words.</p>", ETag='"v2"')
    again = source.fetch_unless(item, held)
    assert again is not None
    assert (again.content, again.etag) == (b"<p>Other words.</p>", '"v2"')
    assert source.fetch_unless(item, 'no validator\r\nX-Evil: "yes"') is not None
    assert "x-evil" not in site.asked[-1].header


def test_robots_txt_is_asked_first_and_obeyed(site: Site) -> None:
    site.put(
        "/robots.txt",
        "User-agent: *\nDisallow: /\n\nUser-agent: muniment\nDisallow: /private/\nAllow: /\n",
        "text/plain",
    )
    site.put("/sitemap.xml", urlset(f"{site.url}/open", f"{site.url}/private/x"))
    site.put("/open", PAGE)
    site.put("/private/x", PAGE)
    source = opened(f"{site.url}/sitemap.xml")
    assert keys(source) == [f"{site.url}/open", f"{site.url}/private/x"]
    assert source.fetch(Item(key=f"{site.url}/open")).content == PAGE.encode()
    with pytest.raises(NotPermitted, match=r"robots\.txt"):
        source.fetch(Item(key=f"{site.url}/private/x"))
    assert site.paths() == ["/robots.txt", "/sitemap.xml", "/open"]
    assert all(asked.header["user-agent"].startswith("Muniment/") for asked in site.asked)


def test_pauses_are_as_long_as_the_option_or_robots_txt_asks_whichever_is_longer(site: Site) -> None:
    site.put("/a", PAGE)
    for rules, options, expected in (
        ("", {}, 0.5),
        ("", {"requests_per_second": "0.5"}, 2.0),
        ("User-agent: *\nCrawl-delay: 7\n", {}, 7.0),
        ("User-agent: *\nCrawl-delay: 7\n", {"requests_per_second": "0.1"}, 10.0),
    ):
        site.put("/robots.txt", rules, "text/plain")
        pauses: list[float] = []
        source = opened(f"{site.url}/a", pauses=pauses, **options)
        for _ in range(3):
            source.fetch(Item(key=f"{site.url}/a"))
        assert pauses[-1] == pytest.approx(expected * 2, abs=expected)
        assert pauses[-1] > pauses[-2]
    site.put("/robots.txt", "User-agent: *\nCrawl-delay: 86400\n", "text/plain")
    with pytest.raises(Invalid, match="pause"):
        keys(opened(f"{site.url}/a"))


def test_a_site_that_cannot_tell_its_rules_is_not_visited(site: Site) -> None:
    site.put("/a", PAGE)
    site.served["/robots.txt"] = sites.Served(status=503)
    with pytest.raises(Unavailable):
        keys(opened(f"{site.url}/a"))
    assert site.paths() == ["/robots.txt"]


# -- where a page is -----------------------------------------------------------------------------------------------


def test_a_page_is_known_by_its_canonical_address_or_where_it_was_moved_to(site: Site) -> None:
    site.put("/plain", PAGE)
    site.put("/stated", '<!-- <link rel=canonical href="/comment"> --><LINK href="/real#part" rel="Canonical">')
    site.put("/elsewhere", '<link rel="canonical" href="https://example.org/theirs">')
    site.redirect("/moved", "/plain", 301)
    source = opened(f"{site.url}/plain")
    found = {
        path: source.fetch(Item(key=site.url + path)).uri for path in ("/plain", "/stated", "/elsewhere", "/moved")
    }
    assert found == {"/plain": None, "/stated": f"{site.url}/real", "/elsewhere": None, "/moved": f"{site.url}/plain"}


def test_redirects_to_other_hosts_or_without_an_end_are_not_followed(site: Site) -> None:
    with sites.site() as other:
        other.put("/secret", "secret")
        site.redirect("/other", f"{other.url}/secret")
        site.redirect("/loop", "/loop")
        site.redirect("/file", "file:///etc/passwd")
        source = opened(f"{site.url}/")
        for path, refusal in (("/other", NotPermitted), ("/loop", NotFound), ("/file", NotPermitted)):
            with pytest.raises(refusal):
                source.fetch(Item(key=site.url + path))
        assert other.asked == []


def test_a_redirect_into_a_private_network_is_refused_even_if_the_host_is_named(site: Site) -> None:
    """The location may lie in a private network when that is allowed; no other host may, and link-local never."""
    with sites.site() as inner:
        inner.put("/secret", "secret")
        port = inner.url.rpartition(":")[2]
        site.redirect("/inner", f"http://localhost:{port}/secret")
        site.redirect("/metadata", "http://169.254.169.254/latest/meta-data/")
        source = opened(f"{site.url}/", hosts=f"localhost:{port}, 169.254.169.254")
        for path in ("/inner", "/metadata"):
            with pytest.raises(NotPermitted, match="private network"):
                source.fetch(Item(key=site.url + path))
        assert inner.asked == []


def test_names_that_lead_into_a_private_network_are_not_gone_to(site: Site) -> None:
    site.put("/a", PAGE)
    port = site.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]"):
        with pytest.raises((Invalid, Unavailable)):
            keys(opened(f"http://{host}:{port}/a", allowed=False))
    assert site.asked == []


def test_every_address_of_a_name_is_judged_and_the_connection_goes_to_one_of_them(site: Site) -> None:
    site.put("/a", PAGE)
    port = site.url.rpartition(":")[2]
    location = f"http://papers.example:{port}/a"
    answers: list[list[str]] = [["127.0.0.1"]] * 20

    def resolve(host: str, port: int) -> Sequence[str]:
        assert host == "papers.example"
        return answers.pop(0)

    assert opened(location, resolve=resolve).fetch(Item(key=location)).content == PAGE.encode()
    assert site.asked[-1].header["host"] == f"papers.example:{port}"
    count = len(site.asked)
    for addresses in (["93.184.216.34", "127.0.0.1"], ["10.0.0.1"], ["::ffff:10.0.0.1"], []):
        answers[:] = [addresses] * 5
        with pytest.raises(Invalid, match="private network"):
            keys(opened(location, resolve=resolve, allowed=False))
    assert len(site.asked) == count


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True, True),
        ("127.0.0.1", False, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("::1", False, True),
        ("fd12:3456::1", False, True),
        ("::ffff:192.168.1.1", False, True),
        ("64:ff9b::10.0.0.1", False, True),
        ("2002:0a00:0001::1", False, True),
        ("64:ff9b::169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("fd00:ec2::254", False, False),
        ("100.100.100.200", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("255.255.255.255", False, True),
        ("not an address", False, False),
    ],
)
def test_addresses_that_may_be_reached(address: str, public: bool, private: bool) -> None:
    assert may_be_reached(address, private_networks_allowed=False) is public
    assert may_be_reached(address, private_networks_allowed=True) is private


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://ana:x@example.org/",
        "https://",
        "http://a b/",
        "//x/y",
        "https://example.org/ http://169.254.169.254/",
        "http://[::1",
        "x" * 3000,
    ],
)
def test_what_is_no_address_of_a_page_is_refused(location: str) -> None:
    with pytest.raises(Invalid):
        opened(location)


@given(path=st.text(max_size=40), query=st.text(max_size=10))
def test_keys_stay_on_the_site_whatever_stands_in_an_address(path: str, query: str) -> None:
    from ingest.web_source import _joined

    url = _joined("https://example.org/docs/page", f"{path}?{query}")
    if url is not None and url.host == "example.org":
        assert str(url).startswith(("https://example.org/", "http://example.org/"))
        assert not {".", ".."} & set(url.raw_path.partition(b"?")[0].decode().lower().replace("%2e", ".").split("/"))
        assert _joined("https://example.org/", str(url)) == url


# -- sitemaps ------------------------------------------------------------------------------------------------------


def test_a_sitemap_index_is_read_through_packed_or_not_and_other_hosts_are_left_out(site: Site) -> None:
    index = "".join(f"<sitemap><loc>{site.url}/{name}</loc></sitemap>" for name in ("one.xml", "two.xml.gz"))
    site.put("/sitemap.xml", f"<sitemapindex>{index}</sitemapindex>")
    site.put("/one.xml", urlset(f" {site.url}/a?b=1&amp;c=2 ", "https://example.org/theirs", f"{site.url}/x/../y#z"))
    site.put(
        "/two.xml.gz", gzip.compress(urlset(f"{site.url}/c", "mailto:ana@example.org").encode()), "application/gzip"
    )
    assert keys(opened(f"{site.url}/sitemap.xml")) == [f"{site.url}{path}" for path in ("/a?b=1&c=2", "/y", "/c")]
    assert keys(opened(f"{site.url}/sitemap.xml", exclude="y,a")) == [f"{site.url}/c"]


def test_the_date_in_a_sitemap_counts_only_if_it_is_trusted(site: Site) -> None:
    site.put("/sitemap.xml", urlset(f"{site.url}/a", more="<lastmod>2024-05-01</lastmod>"))
    (page,) = opened(f"{site.url}/sitemap.xml").pages(None)
    assert (page.items[0].etag, page.items[0].valid_from) == (None, None)
    (page,) = opened(f"{site.url}/sitemap.xml", trust_lastmod="true").pages(None)
    assert (page.items[0].etag, page.items[0].valid_from) == ("lastmod:2024-05-01", parse_instant("2024-05-01"))


def billion_laughs() -> bytes:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE urlset [<!ENTITY e0 "lol">{entities}]><urlset><url><loc>&e9;</loc></url></urlset>'.encode()


@pytest.mark.parametrize(
    "body",
    [
        billion_laughs(),
        b'<!DOCTYPE urlset SYSTEM "file:///etc/passwd"><urlset/>',
        b"<html><body>Not found, but 200</body></html>",
        b"<urlset><url><loc>unclosed",
        b"<urlset>" + b"<url>" * 100,
        b"\x1f\x8b but not gzip",
        b"",
        gzip.compress(b"<urlset>" + b" " * 60_000_000),
    ],
    ids=["entities", "external", "page", "unclosed", "deep", "damaged", "empty", "bomb"],
)
def test_a_sitemap_that_is_hostile_or_none_is_refused_and_never_an_empty_site(site: Site, body: bytes) -> None:
    site.put("/sitemap.xml", body)
    with pytest.raises(Invalid):
        keys(opened(f"{site.url}/sitemap.xml"))


@pytest.mark.parametrize(
    ("status", "refusal"), [(404, Invalid), (403, Invalid), (500, Unavailable), (429, Unavailable)]
)
def test_a_sitemap_that_is_not_given_is_an_error(site: Site, status: int, refusal: type[MunimentError]) -> None:
    index = f"<sitemapindex><sitemap><loc>{site.url}/part.xml</loc></sitemap></sitemapindex>"
    site.put("/sitemap.xml", index)
    site.served["/part.xml"] = sites.Served(status=status)
    with pytest.raises(refusal):
        keys(opened(f"{site.url}/sitemap.xml"))


def test_a_listing_that_was_broken_off_begins_anew_if_the_sitemap_is_another_now(site: Site) -> None:
    addresses = [f"{site.url}/{number}" for number in range(6)]
    site.put("/sitemap.xml", urlset(*addresses))

    def source() -> WebSource:
        where = settings("web", f"{site.url}/sitemap.xml")
        return open_web(where, private_networks_allowed=True, page_items=2, pause=lambda _: None)

    pages = list(source().pages(None))
    site.put("/sitemap.xml", urlset(*addresses[1:], f"{site.url}/new"))
    rest = [item.key for page in source().pages(pages[1].next) for item in page.items]
    assert rest == [*addresses[1:], f"{site.url}/new"]
    site.put("/sitemap.xml", urlset(addresses[0]))
    assert [item.key for page in source().pages(pages[1].next) for item in page.items] == addresses[:1]


def test_more_pages_than_were_foreseen_are_an_error_and_not_a_part_of_the_site(site: Site) -> None:
    site.put("/sitemap.xml", urlset(*(f"{site.url}/{number}" for number in range(6))))
    with pytest.raises(Invalid, match="max_pages"):
        keys(opened(f"{site.url}/sitemap.xml", max_pages="5"))


# -- links ---------------------------------------------------------------------------------------------------------


def test_links_are_followed_below_the_first_page_as_deep_as_asked_and_nothing_is_asked_for_twice(site: Site) -> None:
    site.put(
        "/docs/",
        '<a href="a">1</a><a href="/docs/b?x=1#y">2</a><a href="../out">3</a><a href="https://example.org/docs/x">4</a>'
        '<!--<a href="comment">5</a>--><script>"<a href=script>"</script><a rel=nofollow href="no">6</a>'
        '<a href="picture.PNG">7</a><a href="mailto:x@y">8</a><a href="gone">9</a><a href="javascript:x()">10</a>',
    )
    site.put("/docs/a", '<a href="deep/er">x</a><a href="/docs/">home</a>')
    site.put("/docs/b?x=1", PAGE)
    site.put("/docs/deep/er", '<a href="/docs/too-deep">x</a>')
    first = [f"{site.url}/docs/", f"{site.url}/docs/a", f"{site.url}/docs/b?x=1"]
    assert keys(opened(f"{site.url}/docs/")) == first[:1]
    source = opened(f"{site.url}/docs/", crawl_depth="2")
    assert keys(source) == [*first, f"{site.url}/docs/deep/er"]
    site.asked.clear()
    assert source.fetch(Item(key=first[1])).content == b'<a href="deep/er">x</a><a href="/docs/">home</a>'
    assert site.asked == []


def test_a_site_whose_first_page_is_gone_is_not_an_empty_site(site: Site) -> None:
    with pytest.raises(Invalid):
        keys(opened(f"{site.url}/docs/", crawl_depth="1"))


@pytest.mark.parametrize("piece", ["<!--", "<script", "<a ", '<a href="', "<a x=", "<textarea", "<"])
def test_markup_that_never_ends_takes_no_more_than_its_length(site: Site, piece: str) -> None:
    site.put("/docs/", piece * (1_000_000 // len(piece)))
    assert keys(opened(f"{site.url}/docs/", crawl_depth="1", max_bytes=2_000_000)) == [f"{site.url}/docs/"]


# -- what comes back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (404, NotFound),
        (410, NotFound),
        (400, NotFound),
        (401, NotPermitted),
        (403, NotPermitted),
        (451, NotPermitted),
        (429, Unavailable),
        (500, NotFound),
        (502, Unavailable),
        (503, Unavailable),
    ],
)
def test_each_answer_means_what_it_says(site: Site, status: int, refusal: type[MunimentError]) -> None:
    site.served["/a"] = sites.Served(status=status, body=b"internal detail")
    with pytest.raises(refusal) as told:
        opened(f"{site.url}/a").fetch(Item(key=f"{site.url}/a"))
    assert "internal" not in told.value.detail


def test_too_much_is_refused_before_it_is_read_and_while_it_comes(site: Site) -> None:
    written: list[int] = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for number in range(1000):
            handler.wfile.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            handler.wfile.flush()
            written.append(number)

    def stated(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "99999999999")
        handler.end_headers()
        handler.wfile.flush()
        handler.close_connection = True

    site.served["/endless"], site.served["/stated"] = endless, stated
    site.put("/bomb", gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")
    source = opened(f"{site.url}/")
    for path in ("/endless", "/stated", "/bomb"):
        with pytest.raises(TooLarge):
            source.fetch(Item(key=site.url + path))
    assert len(written) < 1000


def test_what_is_packed_on_the_way_is_unpacked_and_other_packings_are_refused(site: Site) -> None:
    site.put("/a", gzip.compress(PAGE.encode() * 100), Content_Encoding="gzip")
    site.put("/b", b"?", Content_Encoding="br")
    site.put("/c", gzip.compress(PAGE.encode() * 100)[:-20] + b"x" * 12, Content_Encoding="gzip")
    source = opened(f"{site.url}/")
    assert source.fetch(Item(key=f"{site.url}/a")).content == PAGE.encode() * 100
    with pytest.raises(UnsupportedMedia):
        source.fetch(Item(key=f"{site.url}/b"))
    with pytest.raises(MunimentError):
        source.fetch(Item(key=f"{site.url}/c"))


def test_pictures_and_films_are_refused_by_their_header(site: Site) -> None:
    site.put("/a", b"...", "image/png")
    with pytest.raises(UnsupportedMedia):
        opened(f"{site.url}/a").fetch(Item(key=f"{site.url}/a"))


def test_a_document_keeps_its_name_and_type(site: Site) -> None:
    site.put("/files/Travel%20policy.pdf", b"%PDF-", "application/pdf")
    fetched = opened(f"{site.url}/").fetch(Item(key=f"{site.url}/files/Travel%20policy.pdf"))
    assert (fetched.filename, fetched.media_type) == ("Travel policy.pdf", "application/pdf")


def test_a_site_that_stops_answering_is_left_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        finished.wait(20)
        handler.close_connection = True

    site.put("/robots.txt", "", "text/plain")
    site.served["/silent"] = silent
    source = opened(f"{site.url}/")
    source.fetch(Item(key=f"{site.url}/robots.txt"))
    monkeypatch.setattr(web_client, "_WHOLE_TIMEOUT_S", 0.2)
    try:
        with pytest.raises(Unavailable):
            source.fetch(Item(key=f"{site.url}/silent"))
    finally:
        finished.set()


def test_nonsense_instead_of_an_answer_is_unavailable(site: Site) -> None:
    def nonsense(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"\x00\xff nonsense\r\n\r\n")
        handler.close_connection = True

    site.served["/a"] = nonsense
    with pytest.raises(Unavailable):
        opened(f"{site.url}/a").fetch(Item(key=f"{site.url}/a"))


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unavailable):
        keys(opened(f"http://127.0.0.1:{port}/"))


def test_options_that_are_none_are_refused() -> None:
    for options in ({"crawl_depth": "-1"}, {"max_pages": "many"}, {"depth": "1"}, {"trust_lastmod": "yes"}):
        with pytest.raises(Invalid):
            opened("https://example.org/", **options)
    for options in ({"contact": "a\r\nX: y"}, {"pages": "https://example.com/"}, {"requests_per_second": "nan"}):
        with pytest.raises(Invalid):
            opened("https://example.org/", **options)
