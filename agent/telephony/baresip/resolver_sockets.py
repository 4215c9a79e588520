"""The sockets from which the stack asks for names: bound where name servers are reached from.

The stack opens them when it starts, one for IPv4 and one for IPv6, and binds all addresses of the
machine. It keeps their numbers, and the poll that waits for them: so they are bound anew in place.
"""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Collection, Sequence
from pathlib import Path

from callerside.addresses import EVERYWHERE
from callerside.agent.telephony.invite import is_address
from callerside.agent.telephony.own_sockets import own_sockets
from callerside.agent.telephony.peers_filter import drop_from_others
from callerside.families import family_of

_RESOLVERS = Path("/etc/resolv.conf")
_DNS_PORT = 53
_NO_ADDRESS = struct.pack("H14x", socket.AF_UNSPEC)
"""A `struct sockaddr` to "connect" to, by which a datagram socket gives its addresses up
(connect(2)): its port, too, if that was not asked for by number."""


def open_datagram_sockets() -> set[int]:
    """The numbers of this process's UDP sockets."""
    numbers = set()
    for own, number in own_sockets(socket.SOCK_DGRAM):
        own.close()
        numbers.add(number)
    return numbers


def bind_resolvers(but: Collection[int], host: str, resolvers: Path = _RESOLVERS) -> None:
    """Have what is bound to all addresses listen on one alone, and only to name servers.

    Where there is no name server of a family, its socket listens nowhere.

    Args:
        but: numbers of sockets that are left alone.
        host: an address to listen at, of its family, if nothing says where name servers are.
        resolvers: who they are (resolv.conf(5)).

    Raises:
        OSError: one cannot be bound.
    """
    servers = _name_servers(resolvers)
    for own, number in own_sockets(socket.SOCK_DGRAM):
        with own:
            is_theirs = number not in but and own.getsockname()[0] in EVERYWHERE
            if not is_theirs or not own.getsockname()[1]:
                continue
            _unbind(own)
            mine = [one for one in servers if (":" in one) == (own.family == socket.AF_INET6)]
            otherwise = host if own.family == family_of(host) else ""
            if source := _reached_from(own.family, mine) or otherwise:
                own.bind((source, 0))
                drop_from_others(own, mine)


def _name_servers(resolvers: Path) -> list[str]:
    with contextlib.suppress(OSError):
        lines = [line.split() for line in resolvers.read_text(errors="replace").splitlines()]
        named = (words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1)
        return list(filter(is_address, named))
    return []


def _reached_from(family: int, servers: Sequence[str]) -> str:
    """Our address towards the first that there is a way to; empty: there is none."""
    for server in servers:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((server, _DNS_PORT))
            return str(probe.getsockname()[0])
    return ""


def _unbind(own: socket.socket) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(own.fileno(), _NO_ADDRESS, len(_NO_ADDRESS)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
