"""Connections, from the moment that somebody reaches the port: none may hold up the others.

`websockets` knows a connection once its handshake is done. One that never says what it wants would
keep a stopping server waiting for as long as a handshake may take.
"""

import asyncio
from typing import Any
from weakref import WeakSet

from websockets.asyncio.server import ServerConnection

REQUEST_LIMIT_S = 10.0
"""How long a client may take to send its whole request, which is one packet."""


class Arrivals:
    """Makes the connections of one server, and ends those that it cannot wait for."""

    def __init__(self, request_limit_s: float = REQUEST_LIMIT_S) -> None:
        self._request_limit_s = request_limit_s
        self._all: WeakSet[_Arrival] = WeakSet()

    def create(self, *arguments: Any, **options: Any) -> ServerConnection:
        """A connection, as `create_connection` of `websockets.asyncio.server.serve` makes them."""
        connection = _Arrival(*arguments, **options)
        connection.request_limit_s = self._request_limit_s
        self._all.add(connection)
        return connection

    def abort_silent(self) -> None:
        """End the connections that have not sent a whole request yet."""
        for connection in list(self._all):
            connection.abort_if_silent()

    def abort_all(self) -> None:
        """End whatever is still there, without a word."""
        for connection in list(self._all):
            connection.transport.abort()


class _Arrival(ServerConnection):
    """A connection that has to say soon what it wants."""

    request_limit_s = REQUEST_LIMIT_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(transport)
        self.loop.call_later(self.request_limit_s, self.abort_if_silent)

    def abort_if_silent(self) -> None:
        """End it, unless its request is there."""
        if self.request is None:
            self.transport.abort()
