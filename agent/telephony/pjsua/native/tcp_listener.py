"""Has the kernel drop what would become a TCP connection, while PJSIP has no place for it.

PJSIP's listener accepts all that is there, at once. So its socket gets a filter (`peers_filter`),
which sees what arrives before there is a connection. Connections that exist are sockets of their
own, which it does not touch.
"""

import socket
import time
from collections.abc import Sequence

import structlog

from callerside.agent.telephony.errors import LogLimit
from callerside.agent.telephony.peers_filter import (
    NOBODY,
    Filter,
    attach,
    listening,
    peers_filter,
)
from callerside.agent.telephony.pjsua.connections import ConnectionPolicy, Connections

_log = structlog.get_logger(__name__)


class TcpListener:
    """PJSIP's listening socket, and who is connected to it."""

    def __init__(self, allowed_peers: Sequence[str]) -> None:
        self._filters: dict[ConnectionPolicy, Filter] = {ConnectionPolicy.NOBODY: NOBODY}
        if allowed_peers:
            self._filters[ConnectionPolicy.PEERS] = peers_filter(allowed_peers)
        self._connections = Connections()
        self._policy = ConnectionPolicy.EVERYBODY
        self._socket: socket.socket | None = None
        self._log_limit = LogLimit(per_s=1)

    def open(self, host: str, port: int) -> None:
        """Find the socket, among those of this process."""
        self._socket = listening(host, port)
        if self._socket is None:
            _log.warning("sip_tcp_unguarded", reason=f"no socket listens on {host}:{port}")

    def close(self) -> None:
        """Let it go, before the stack does: the port is taken for as long as we have it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def opened(self, connection: int) -> None:
        """There is one more connection, ours or another's."""
        self._connections.opened(connection)
        self.tick(time.monotonic_ns())

    def closed(self, connection: int) -> None:
        """One is over, and its socket is about to be closed."""
        now_ns = time.monotonic_ns()
        self._connections.closed(connection, now_ns)
        self.tick(now_ns)

    def tick(self, now_ns: int) -> None:
        """Let in who may come now."""
        policy = self._connections.policy(now_ns)
        if policy == self._policy or self._socket is None:
            return
        before, self._policy = self._policy, policy
        try:
            attach(self._socket, self._filters.get(policy))
        except OSError as error:
            _log.warning("sip_tcp_unguarded", connects=policy.name.lower(), reason=str(error))
            if (
                self._filters.pop(ConnectionPolicy.PEERS, None) is None
                or policy is ConnectionPolicy.NOBODY
            ):
                self.close()  # it would fail again, each time
            return  # a list of peers too long for the kernel: everybody, until it is nobody
        if policy > before and policy in self._filters:
            self._note(policy, now_ns)

    def _note(self, policy: ConnectionPolicy, now_ns: int) -> None:
        unlogged = self._log_limit.passes(now_ns)
        if unlogged is not None:
            _log.warning(
                "sip_tcp_connections_held_off",
                connects="allowed peers" if policy is ConnectionPolicy.PEERS else "nobody",
                places_taken=self._connections.places_taken(now_ns),
                unlogged=unlogged,
            )
