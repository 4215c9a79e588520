"""One request over HTTP, bounded in time and size, to an address that has been checked.

The host is looked up once. The connection then goes to an address that was found to be allowed, and
not to the name again, which may lead elsewhere by then (DNS rebinding). Parsing is h11's, and
certificates are checked against the name. Proxies of the environment are not used.
"""

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import h11

from callerside.agent.tools.interface import Cancellation

_READ_BYTES = 65_536
_MAX_HEAD_BYTES = 32_768
_MOST_ADDRESSES = 3
"""Of a host that are tried, one after another, within the one timeout."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Sequence[str]]
"""Host and port -> its addresses."""


class RequestError(Exception):
    """There is no usable answer, and another attempt would not help; says why."""


class UnansweredError(RequestError):
    """The server could not be reached, or did not answer in time: another attempt may help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to send, and within which bounds."""

    method: str
    url: str
    """With http or https, ASCII only."""
    headers: Mapping[str, str]
    body: bytes = b""
    timeout_ms: float
    """From looking up the host to the last byte of the answer."""
    max_response_bytes: int
    allow_private: bool = False
    """Whether addresses that are not public may be connected to."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    """Whether somebody still waits for the answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver, in its order and with its own limits.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet's: IPv4, IPv6, or IPv4 inside of IPv6."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64 or int(ip) >> 32 == 0:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast


def send(request: Request, resolve: Resolve = look_up) -> Response:
    """Send a request and wait for the answer; redirects are answers, too.

    Raises:
        UnansweredError: no connection, none that lasted, or no answer in time.
        RequestError: the address is not allowed, or the answer is too large, or no HTTP.
        CancelledError: nobody waits for it any more.
    """
    until_s = time.monotonic() + request.timeout_ms / 1000
    parts = urlsplit(request.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        addresses = resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise UnansweredError(f"{host}: no address: {error}") from None
    if not request.allow_private:
        addresses = [address for address in addresses if is_public(address)]
    if not addresses:
        raise RequestError(f"{host} is at a private address, which is not allowed (allow_private)")
    work = _send(request, addresses[:_MOST_ADDRESSES], port, until_s)
    return request.cancellation.run(work)


async def _send(request: Request, addresses: Sequence[str], port: int, until_s: float) -> Response:
    host = urlsplit(request.url).hostname or ""
    try:
        async with asyncio.timeout(until_s - time.monotonic()):
            reader, writer = await _connect(request, addresses, port)
            try:
                return await _exchange(request, reader, writer)
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        limit_s = request.timeout_ms / 1000
        raise UnansweredError(f"{host}: no answer within {limit_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise RequestError(f"{host}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise UnansweredError(f"{host}: no TLS: {error.reason}") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise UnansweredError(f"{host}: {why}") from None
    except h11.LocalProtocolError:
        raise RequestError(f"{host}: the request is no HTTP") from None
    except h11.RemoteProtocolError:
        raise UnansweredError(f"{host}: the answer is no HTTP, or not whole") from None


async def _connect(
    request: Request, addresses: Sequence[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(request.url)
    secure: dict[str, Any] = {}
    if parts.scheme == "https":
        secure = {"ssl": _tls(), "server_hostname": parts.hostname}
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port, **secure)
    return await asyncio.open_connection(last, port, **secure)


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _exchange(
    request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Response:
    parts = urlsplit(request.url)
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    own = {"Host": parts.netloc, "Connection": "close", "Accept-Encoding": "identity"}
    if request.body:
        own["Content-Length"] = str(len(request.body))
    head = h11.Request(
        method=request.method, target=target, headers=[*own.items(), *request.headers.items()]
    )
    whole: tuple[h11.Event, ...] = (head, h11.Data(data=request.body), h11.EndOfMessage())
    for part in whole:
        writer.write(connection.send(part) or b"")
    await writer.drain()
    answer, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > request.max_response_bytes:
                limit = request.max_response_bytes
                raise RequestError(f"{parts.hostname}: an answer of more than {limit} bytes")
        elif isinstance(event, h11.EndOfMessage) and answer is not None:
            headers = {
                name.decode("latin-1"): text.decode("latin-1") for name, text in answer.headers
            }
            return Response(status=answer.status_code, headers=headers, body=bytes(body))
