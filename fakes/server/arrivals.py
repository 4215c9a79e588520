"""Connections, from the moment that somebody reaches the port: none may hold up the others.

`websockets` knows a connection once its handshake is done. One that never says what it wants would
keep a stopping server waiting for as long as a handshake may take.
"""

import asyncio
from typing import Any, cast
from weakref import WeakSet

from websockets.asyncio.server import ServerConnection

from callerside.fakes.server.http import Exchange, HttpError, Routes, exchange, wants_websocket

REQUEST_LIMIT_S = 10.0
"""How long a client may take to send its whole request, which is one packet."""


class Arrivals:
    """Makes the connections of one server, and ends those that it cannot wait for."""

    def __init__(
        self, request_limit_s: float = REQUEST_LIMIT_S, *, routes: Routes | None = None
    ) -> None:
        """`routes` is what is served over plain HTTP on the same port."""
        self._request_limit_s = request_limit_s
        self._routes = routes
        self._all: WeakSet[_Arrival] = WeakSet()

    def create(self, *arguments: Any, **options: Any) -> ServerConnection:
        """A connection, as `create_connection` of `websockets.asyncio.server.serve` makes them."""
        connection = _Arrival(*arguments, **options)
        connection.request_limit_s = self._request_limit_s
        connection.routes = self._routes
        self._all.add(connection)
        return connection

    def abort_silent(self) -> None:
        """End the connections that have not sent a whole request yet."""
        for connection in list(self._all):
            connection.abort_if_silent()

    def abort_all(self) -> None:
        """End whatever is still there, without a word."""
        for connection in list(self._all):
            connection.abort()


class _Arrival(ServerConnection):
    """A connection that has to say soon what it wants: a WebSocket, or an answer over plain HTTP.

    The one is handed to `websockets` with all that it has sent; the other never gets there.
    """

    request_limit_s = REQUEST_LIMIT_S
    routes: Routes | None = None
    _came: asyncio.Transport | None = None
    _early: Exchange | None = None
    """What it has sent, until it is known what it wants."""
    _answering: asyncio.Task[None] | None = None
    _refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol.connection_made`."""
        self.loop.call_later(self.request_limit_s, self.abort_if_silent)
        self._came = cast("asyncio.Transport", transport)
        if self.routes is None:
            super().connection_made(transport)
        else:
            self._early = Exchange()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        if self._early is None:
            super().data_received(data)
        elif self._refused:
            pass  # until the client goes, or its time is up
        elif self._answering is None and self.routes is not None and self._came is not None:
            self._take(self._early, data, self.routes, self._came)

    def eof_received(self) -> None:
        """See `asyncio.Protocol.eof_received`."""
        if self._early is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        if self._early is None:
            super().connection_lost(exc)
        elif self._answering is not None:
            self._answering.cancel()

    def abort_if_silent(self) -> None:
        """End it, unless its request is there."""
        if self._answering is None and self.request is None:
            self.abort()

    def abort(self) -> None:
        """End it."""
        if self._came is not None:
            self._came.abort()

    def _take(
        self, early: Exchange, data: bytes, routes: Routes, transport: asyncio.Transport
    ) -> None:
        """What it has sent, until that says what it wants."""
        seen = bytes(early.received) + data if early.request is None else b""
        try:
            early.add(data)
        except HttpError as error:
            # Closed with something unread, it would be reset, and the answer be lost.
            self._refused = True
            transport.write(error.response.encode())
            transport.write_eof()
            return
        request = early.request
        if request is None:
            return
        is_control = request.path.startswith("/control/")
        is_plain = request.method != "GET" or is_control or routes.knows(request.path)
        if wants_websocket(request) or not is_plain:
            self._early = None
            super().connection_made(transport)
            super().data_received(seen)
        elif early.is_whole:
            self._answering = self.loop.create_task(exchange(early.whole(), routes, transport))
        elif seen and "100-continue" in request.headers.get("Expect", "").lower():
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
