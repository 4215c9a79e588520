"""A very small HTTP server for `/healthz`, `/readyz` and `/metrics`, and its client.

It runs on the agent's own loop, so that an answer proves that the loop turns. Parsing is h11's.
One request a connection; everything has a bound: connections, header size, time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import h11
import structlog

MAX_CONNECTIONS = 32
MAX_PAGE_BYTES = 4 * 1024 * 1024
REQUEST_TIMEOUT_S = 5.0
"""For one request, from its first byte to the last of its answer."""

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_READ_BYTES = 16 * 1024
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What is answered."""

    status: int = 200
    content_type: str = TEXT
    body: bytes = b""


Pages = Mapping[str, Callable[[], Awaitable[Page]]]
"""Path -> what makes its page."""


class FetchError(Exception):
    """The other side did not answer with a page: says why."""


class HttpServer:
    """Serves GET and HEAD of a few pages."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._is_local = False
        """Whether it listens on this machine's own address, where a name other than its own is what
        a web page uses that has led its name there (DNS rebinding)."""
        self._open: dict[asyncio.StreamWriter, asyncio.Future[None]] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on TCP; returns the port, which matters if `port` was 0.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ_BYTES)
        address, bound = self._server.sockets[0].getsockname()[:2]
        self._is_local = ip_address(address).is_loopback
        return int(bound)

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket.

        Raises:
            OSError: it cannot be made.
        """
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_READ_BYTES)

    async def stop(self) -> None:
        """Stop listening and drop what is open; harmless if it was never started."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._open.values())
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done = self._open[writer] = asyncio.get_running_loop().create_future()
        if len(self._open) > MAX_CONNECTIONS:
            # Whoever has been here for longest is no monitoring, which asks at once: it would be
            # told that nothing lives here, and act on that.
            next(one for one in self._open if not one.is_closing()).transport.abort()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await self._answer(reader, writer)
        except (TimeoutError, OSError, h11.RemoteProtocolError):
            pass  # whoever asked has gone, or was too slow
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del self._open[writer]
            done.set_result(None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_READ_BYTES)
        try:
            request = await _next_event(connection, reader)
        except h11.RemoteProtocolError as error:
            _send(connection, writer, Page(status=error.error_status_hint, body=b"bad request\n"))
        else:
            if not isinstance(request, h11.Request):
                return
            page = await self._page(request)
            _send(connection, writer, page, with_body=request.method != b"HEAD")
        await writer.drain()

    async def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return Page(status=405, body=b"only GET and HEAD\n")
        if self._is_local and not _is_here(dict(request.headers).get(b"host", b"")):
            return Page(status=421, body=b"this is another host\n")
        path = request.target.split(b"?")[0].decode("ascii", "replace")
        make = self._pages.get(path)
        if make is None:
            known = " ".join(self._pages)
            return Page(status=404, body=f"no such page; there are {known}\n".encode())
        try:
            return await make()
        except Exception:  # a page that fails must not take the server along
            _log.exception("page_failed", path=path)
            return Page(status=500, body=b"this page failed; the log says why\n")


def _is_here(host: bytes) -> bool:
    """Whether a Host header names an address, or this machine."""
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host.decode()}").hostname or ""
        if name in ("", "localhost"):
            return True
        return bool(ip_address(name))
    return False


async def fetch_unix(path: Path, target: str, *, timeout_s: float) -> Page:
    """GET a page from a server on a Unix socket.

    Raises:
        FetchError: no answer in time, or none that is HTTP.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return await _get(reader, writer, target)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise FetchError(f"{path}: no answer within {timeout_s:g} s") from None
    except (OSError, h11.RemoteProtocolError) as error:
        raise FetchError(f"{path}: {error}") from None


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> Page:
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="GET", target=target, headers=[("Host", "localhost"), ("Connection", "close")]
    )
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    status, body = 0, bytearray()
    while True:
        event = await _next_event(connection, reader)
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_PAGE_BYTES:
                raise FetchError(f"{target}: a page of more than {MAX_PAGE_BYTES} bytes")
        else:
            return Page(status=status, body=bytes(body))


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.receive_data(await reader.read(_READ_BYTES))


def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, page: Page, *, with_body: bool = True
) -> None:
    head = h11.Response(
        status_code=page.status,
        headers=[
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Connection", "close"),
        ],
    )
    writer.write(connection.send(head) or b"")
    if with_body:
        writer.write(connection.send(h11.Data(data=page.body)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
