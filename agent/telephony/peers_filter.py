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
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import structlog

from callerside.addresses import joined
from callerside.agent.telephony.own_sockets import own_sockets
from callerside.families import family_of

_log = structlog.get_logger(__name__)

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
"""BPF's `ld [k]`, `and #k`, `jeq #k`, `ret #k`."""
_SOURCE = {4: 0xFFF00000 + 12, 6: 0xFFF00000 + 8}
"""Where the source address is, of either version: `SKF_NET_OFF`, from which IP's header is counted.
"""
_WORD = 4
"""Bytes of an address that are looked at at once."""
_ALL = 0xFFFFFFFF

Filter = Sequence[tuple[int, int, int, int]]
"""Instructions: code, jump if true, jump if false, k."""

NOBODY: Filter = [(_RETURN, 0, 0, 0)]
NOWHERE = ("0.0.0.0/32",)
"""From where nothing comes: of who listens for the sake of connecting."""


def peers_filter(peers: Sequence[str], *, version: int = 4) -> Filter:
    """What passes packets from these networks alone, at a socket of one version of IP.

    Networks of the other version are none: their packets never reach it.
    """
    program: list[tuple[int, int, int, int]] = []
    for peer in peers:
        network = ip_network(peer, strict=False)
        if network.version != version:
            continue
        words = list(zip(_words(network.netmask), _words(network.network_address), strict=True))
        for number, (mask, address) in enumerate(words):
            behind = 3 * (len(words) - number - 1) + 1
            program += [
                (_LOAD, 0, 0, _SOURCE[version] + number * _WORD),
                (_AND, 0, 0, mask),
                (_JUMP_IF_EQUAL, 0, behind, address),
            ]
        program.append((_RETURN, 0, 0, _ALL))
    return [*program, *NOBODY]


def _words(address: IPv4Address | IPv6Address) -> list[int]:
    packed = address.packed
    return [int.from_bytes(packed[at : at + _WORD]) for at in range(0, len(packed), _WORD)]


def version_of(own: socket.socket) -> int:
    """Which version of IP a socket is of."""
    return 6 if own.family == socket.AF_INET6 else 4


def drop_from_others(own: socket.socket, networks: Sequence[str]) -> None:
    """Have a call's socket get nothing but from there; of no networks: from anywhere.

    Where the kernel does not do that, it gets all.
    """
    with contextlib.suppress(OSError):
        attach(own, peers_filter(networks, version=version_of(own)) if networks else None)


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
        _log.warning("sip_tls_unguarded", reason=f"no socket listens on {joined(host, port)}")
        return
    with found:
        try:
            attach(found, peers_filter(peers, version=version_of(found)))
        except OSError as error:
            _log.warning("sip_tls_unguarded", reason=str(error))


def listening(host: str, port: int) -> socket.socket | None:
    """A second descriptor of the socket that listens there."""
    if not Path("/proc/self/fd").is_dir():  # as elsewhere than on Linux: there is no filter either
        return None
    for found, _ in own_sockets(socket.SOCK_STREAM):
        if found.family == family_of(host) and _listens(found, host, port):
            return found
        found.close()
    return None


def _listens(found: socket.socket, host: str, port: int) -> bool:
    own = socket.getaddrinfo(host, port, found.family, socket.SOCK_STREAM)
    return (
        bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        and found.getsockname()[:2] == own[0][4][:2]
    )
