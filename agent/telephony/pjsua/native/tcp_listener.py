"""Has the kernel drop what would become a TCP connection, while PJSIP has no place for it.

PJSIP's listener accepts all that is there, at once. So its socket gets a filter (classic BPF, see
socket(7), SO_ATTACH_FILTER), which sees what arrives before there is a connection: SYNs, and the
ACKs that complete a handshake. What it drops is sent again, after a second or so. Connections that
exist are sockets of their own, which it does not touch; those that come about while it is there
inherit it, and as it lets in nobody but who is allowed, it drops nothing there.
"""

import contextlib
import ctypes
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import structlog

from callerside.agent.telephony.errors import LogLimit
from callerside.agent.telephony.own_sockets import own_sockets
from callerside.agent.telephony.pjsua.connections import ConnectionPolicy, Connections

_log = structlog.get_logger(__name__)

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
"""BPF's `ld [k]`, `and #k`, `jeq #k`, `ret #k`."""
_SOURCE = 0xFFF00000 + 12
"""Where the source address is: `SKF_NET_OFF`, from which IPv4's header is counted."""
_ALL = 0xFFFFFFFF
_DROP = (_RETURN, 0, 0, 0)

Filter = Sequence[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, k."""


def peers_filter(peers: Sequence[str]) -> Filter:
    """What passes packets from these networks alone; IPv6's never reach an IPv4 socket."""
    program: list[tuple[int, int, int, int]] = []
    for peer in peers:
        network = ip_network(peer, strict=False)
        if isinstance(network, IPv4Network):
            program += [
                (_LOAD, 0, 0, _SOURCE),
                (_AND, 0, 0, int(network.netmask)),
                (_JUMP_IF_EQUAL, 0, 1, int(network.network_address)),
                (_RETURN, 0, 0, _ALL),
            ]
    return [*program, _DROP]


class TcpListener:
    """PJSIP's listening socket, and who is connected to it."""

    def __init__(self, allowed_peers: Sequence[str]) -> None:
        self._filters: dict[ConnectionPolicy, Filter] = {ConnectionPolicy.NOBODY: [_DROP]}
        if allowed_peers:
            self._filters[ConnectionPolicy.PEERS] = peers_filter(allowed_peers)
        self._connections = Connections()
        self._policy = ConnectionPolicy.EVERYBODY
        self._socket: socket.socket | None = None
        self._log_limit = LogLimit(per_s=1)

    def open(self, host: str, port: int) -> None:
        """Find the socket, among those of this process."""
        self._socket = _listener(host, port)
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
            self._attach(self._socket, policy)
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

    def _attach(self, listener: socket.socket, policy: ConnectionPolicy) -> None:
        program = self._filters.get(policy)
        if program is None:
            with contextlib.suppress(FileNotFoundError):  # there was none
                listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            return
        packed = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
        code = ctypes.create_string_buffer(packed, len(packed))
        where = struct.pack("HP", len(program), ctypes.addressof(code))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)

    def _note(self, policy: ConnectionPolicy, now_ns: int) -> None:
        unlogged = self._log_limit.passes(now_ns)
        if unlogged is not None:
            _log.warning(
                "sip_tcp_connections_held_off",
                connects="allowed peers" if policy is ConnectionPolicy.PEERS else "nobody",
                places_taken=self._connections.places_taken(now_ns),
                unlogged=unlogged,
            )


def _listener(host: str, port: int) -> socket.socket | None:
    """A second descriptor of the socket that listens there."""
    if not Path("/proc/self/fd").is_dir():  # as elsewhere than on Linux: there is no filter either
        return None
    for found, _ in own_sockets(socket.SOCK_STREAM):
        if _listens(found, host, port):
            return found
        found.close()
    return None


def _listens(found: socket.socket, host: str, port: int) -> bool:
    return (
        found.family == socket.AF_INET
        and bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        and found.getsockname() == (socket.gethostbyname(host), port)
    )
