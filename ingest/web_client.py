"""HTTP as a guest: only to addresses that may be reached, no faster than is polite, and never more than was asked for.

Names are resolved here, every address of a name is judged, and the connection goes to one of the addresses judged: a
name that answers differently the next time gains nothing. Proxies of the environment are not used, since one would
resolve names for itself.
"""

import ipaddress
import socket
import ssl
import time
import typing
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import httpcore
import httpx

from app.domain.errors import Invalid, NotPermitted, TooLarge, Unavailable, UnsupportedMedia

NAME: Final = "Muniment"
"""What robots.txt calls us."""
MAX_URL_CHARS: Final = 2000
_MAX_ADDRESSES: Final = 20
_CONNECT_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 20.0
_WHOLE_TIMEOUT_S: Final = 120.0
"""Of one answer, however steadily it trickles."""
_AT_ONCE_BYTES: Final = 65_536

_TRANSLATED: Final = tuple(ipaddress.IPv6Network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48"))
"""NAT64 (RFC 6052, RFC 8215): an IPv4 address in the last 32 bits."""
_METADATA: Final = (ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200"))

Resolve = Callable[[str, int], Sequence[str]]


class NoFurther(httpcore.ConnectError):
    """A name leads to an address that may not be reached."""


def may_be_reached(address: str, *, private_networks_allowed: bool) -> bool:
    """Whether to connect to an address. Link-local ones, where clouds keep their secrets, never are."""
    try:
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(ip)
    if inner is not None:
        return may_be_reached(str(inner), private_networks_allowed=private_networks_allowed)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA:
        return False
    return private_networks_allowed or (ip.is_global and not ip.is_reserved)


def _inner(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if any(ip in network for network in _TRANSLATED) or (int(ip) >> 32 == 0 and int(ip) > 0xFFFF):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def resolved(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as this machine knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response's status and header, its names in lower case; the body is drawn while it is open."""

    status: int
    header: Mapping[str, str]
    body: Iterator[bytes]
    """Decoded, in pieces; raises `TooLarge` at the first byte over what was asked for."""


class WebClient:
    """One site's guest. Not safe between threads; `pause` is how it waits.

    Only the name `private_host`, if any, may lead into a private network.
    """

    def __init__(
        self,
        *,
        private_host: str | None,
        seconds_between: float,
        contact: str = "",
        resolve: Resolve = resolved,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds_between = seconds_between
        self._agent = f"{NAME}/0.1 (+{contact})" if contact else f"{NAME}/0.1"
        self._pause = pause
        self._next_at = 0.0
        self._roads = _Roads(resolve, private_host=private_host)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=2,
            keepalive_expiry=10,
            network_backend=self._roads,
        )

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def get(self, url: httpx.URL, *, max_bytes: int, header: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """The answer to one request: no redirect is followed.

        Raises `Unavailable` if the site cannot be reached or stops answering, `NotPermitted` if its name leads where
        we may not go, `TooLarge` if it says or turns out to be more than `max_bytes`.
        """
        with self._sent("GET", url, {"Accept": "*/*", "Accept-Encoding": "gzip", **(header or {})}) as response:
            given = _header(response.headers)
            stated = given.get("content-length", "")
            if response.status == 200 and stated.isdecimal() and int(stated[:18]) > max_bytes:
                raise _too_large(max_bytes)
            body = _bounded(response.iter_stream(), given.get("content-encoding", ""), max_bytes)
            yield Answer(status=response.status, header=given, body=body)

    def post(self, url: httpx.URL, header: Mapping[str, str], body: bytes) -> int:
        """The status that a body is answered with; nothing of the answer is read, and no redirect is followed.

        Raises as `get` does.
        """
        sized = {**header, "Content-Length": str(len(body))}
        with self._sent("POST", url, sized, body, within_s=_READ_TIMEOUT_S) as response:
            return response.status

    @contextmanager
    def _sent(
        self,
        method: str,
        url: httpx.URL,
        header: Mapping[str, str],
        body: bytes | None = None,
        *,
        within_s: float = _WHOLE_TIMEOUT_S,
    ) -> Iterator[httpcore.Response]:
        self._wait()
        sent: dict[bytes | str, bytes | str] = {"Host": url.netloc.decode("ascii"), "User-Agent": self._agent}
        for name, value in header.items():
            sent[name] = value
        timeouts = {"connect": _CONNECT_TIMEOUT_S, "read": _READ_TIMEOUT_S, "write": _READ_TIMEOUT_S, "pool": 5.0}
        target = str(url.copy_with(fragment=None))
        self._roads.deadline = time.monotonic() + within_s
        try:
            with self._pool.stream(
                method, target, headers=sent, content=body, extensions={"timeout": timeouts}
            ) as response:
                yield response
        except NoFurther as error:
            raise NotPermitted(
                "The site's name leads to an address in a private network, or to none. An administrator may allow it."
            ) from error
        except (
            httpcore.TimeoutException,
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
        ) as error:
            raise Unavailable("The site could not be reached, or stopped answering. Try again later.") from error

    def _wait(self) -> None:
        now = time.monotonic()
        if now < self._next_at:
            self._pause(self._next_at - now)
        self._next_at = max(now, self._next_at) + self.seconds_between


def post_to(url: str, header: Mapping[str, str], body: bytes, *, resolve: Resolve = resolved) -> int:
    """As `WebClient.post`, on a connection of its own. The host, which the operator has allowed by name, may be in a
    private network; it is never one where clouds keep their secrets."""
    to = httpx.URL(url)
    client = WebClient(private_host=to.raw_host.decode("ascii"), seconds_between=0, resolve=resolve)
    try:
        return client.post(to, header, body)
    finally:
        client.close()


def gunzipped(pieces: Iterable[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Pieces of gzip unpacked, in pieces of bounded size; raises `TooLarge` when it comes to more than `max_bytes`."""
    unpacking = zlib.decompressobj(wbits=47)
    left = max_bytes
    begun = False
    for piece in pieces:
        begun = more = True
        while more:
            try:
                out = unpacking.decompress(piece, _AT_ONCE_BYTES)
            except zlib.error as error:
                raise Invalid("What was sent as gzip is damaged.") from error
            left -= len(out)
            if left < 0:
                raise _too_large(max_bytes)
            if out:
                yield out
            if unpacking.eof:
                return
            piece = unpacking.unconsumed_tail
            more = bool(piece) or len(out) == _AT_ONCE_BYTES
    if begun:
        raise Invalid("What was sent as gzip is cut short.")


def _bounded(pieces: Iterable[bytes], encoding: str, max_bytes: int) -> Iterator[bytes]:
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        yield from gunzipped(_no_more_than(pieces, max_bytes), max_bytes=max_bytes)
    elif encoding in ("", "identity"):
        yield from _no_more_than(pieces, max_bytes)
    else:
        raise UnsupportedMedia("The site sends it in an encoding that was not asked for.")


def _no_more_than(pieces: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    left = max_bytes
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise _too_large(max_bytes)
        yield piece


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"It is larger than {max_bytes / 1e6:,.6g} MB, the most that is read.")


def _header(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1").strip() for name, value in raw}


# -- connections ---------------------------------------------------------------------------------------------------


_SocketOptions = typing.Iterable[httpcore.SOCKET_OPTION] | None


class _Roads(httpcore.NetworkBackend):
    """Connects to addresses that were judged, by the time that is left."""

    def __init__(self, resolve: Resolve, *, private_host: str | None) -> None:
        self.deadline = 0.0
        self._resolve = resolve
        self._private_host = private_host
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        allowed = host == self._private_host
        if not addresses or not all(may_be_reached(each, private_networks_allowed=allowed) for each in addresses):
            raise NoFurther("not an address to go to")
        failure: Exception = httpcore.ConnectError("no address answers")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                stream = self._sockets.connect_tcp(
                    address, port, timeout=self._left(timeout), socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return _Timed(stream, self)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: _SocketOptions = None
    ) -> httpcore.NetworkStream:
        raise NoFurther("not a place to go to")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _left(self, timeout: float | None) -> float:
        return left_until(self.deadline, timeout)


def left_until(deadline: float, timeout: float | None) -> float:
    """How long may be waited; raises when the whole answer has taken too long."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the whole answer took too long")
    return left if timeout is None else min(left, timeout)


class _Timed(httpcore.NetworkStream):
    """A connection on which nothing waits past the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, roads: _Roads) -> None:
        self._stream = stream
        self._roads = roads

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(min(max_bytes, _AT_ONCE_BYTES), left_until(self._roads.deadline, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left_until(self._roads.deadline, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = left_until(self._roads.deadline, timeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._roads)

    def get_extra_info(self, info: str) -> typing.Any:
        return self._stream.get_extra_info(info)
