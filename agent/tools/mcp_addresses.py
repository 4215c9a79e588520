"""Where a connection to an MCP server may lead: to addresses that have been checked.

As with functions over HTTP (`agent.tools.http_client`), the host is looked up once, and the
connection goes to an address that was found to be allowed, not to the name again.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

from callerside.agent.tools.http_client import is_public, look_up


class _Checked(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """See `httpcore2.AsyncNetworkBackend`."""
        try:
            found = await asyncio.to_thread(look_up, host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"{host}: no address: {error}") from None
        allowed = [address for address in found if is_public(address)]
        if not allowed:
            raise httpcore2.ConnectError(
                f"{host} is at a private address, which is not allowed (allow_private)"
            )
        return await self._inner.connect_tcp(
            allowed[0], port, timeout, local_address, socket_options
        )


def checked_transport(*, allow_private: bool) -> httpx2.AsyncHTTPTransport:
    """A transport of httpx that looks where it connects to."""
    transport = httpx2.AsyncHTTPTransport(trust_env=False)
    if not allow_private:
        # The pool is the one place where a backend can be given, and httpx hands none through.
        transport._pool = httpcore2.AsyncConnectionPool(  # noqa: SLF001
            ssl_context=httpx2.create_ssl_context(trust_env=False), network_backend=_Checked()
        )
    return transport
