"""Has the kernel drop what strangers send: to a call, or before there is a connection at all.

By classic BPF (socket(7), SO_ATTACH_FILTER): it sees SYNs, and the ACKs that complete a handshake.
What it drops is sent again, after a second or so. Connections that come about while it is there
inherit it, and as it lets in nobody but who is allowed, it drops nothing there.
"""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import structlog

from callerside.agent.telephony.own_sockets import own_sockets

_log = structlog.get_logger(__name__)

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
"""BPF's `ld [k]`, `and #k`, `jeq #k`, `ret #k`."""
_SOURCE = 0xFFF00000 + 12
"""Where the source address is: `SKF_NET_OFF`, from which IPv4's header is counted."""
_ALL = 0xFFFFFFFF

Filter = Sequence[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, k."""

NOBODY: Filter = [(_RETURN, 0, 0, 0)]
NOWHERE = ("0.0.0.0/32",)
"""From where nothing comes: of who listens for the sake of connecting."""


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
    return [*program, *NOBODY]


def drop_from_others(own: socket.socket, networks: Sequence[str]) -> None:
    """Have a call's socket get nothing but from there; of no networks: from anywhere.

    Where the kernel does not do that, it gets all.
    """
    with contextlib.suppress(OSError):
        attach(own, peers_filter(networks) if networks else None)


def attach(listener: socket.socket, program: Filter | None) -> None:
    """Have the kernel use it; None: none at all.

    Raises:
        OSError: it does not take it.
    """
    if program is None:
        with contextlib.suppress(FileNotFoundError):  # there was none
            listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return
    packed = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(packed, len(packed))
    where = struct.pack("HP", len(program), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)


def let_in_alone(peers: Sequence[str], host: str, port: int) -> None:
    """From now on only these come as far as a connection to the socket that listens there."""
    if not peers:
        return
    found = listening(host, port)
    if found is None:
        _log.warning("sip_tls_unguarded", reason=f"no socket listens on {host}:{port}")
        return
    with found:
        try:
            attach(found, peers_filter(peers))
        except OSError as error:
            _log.warning("sip_tls_unguarded", reason=str(error))


def listening(host: str, port: int) -> socket.socket | None:
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
