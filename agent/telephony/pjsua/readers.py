"""The sockets of SIP, found among those of the process: the loop waits for them itself.

PJSIP keeps its sockets to itself, and PJSUA2 names none. On Linux the system lists what a process
has open; elsewhere none is found, and the stack is looked at now and then instead.
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from callerside.agent.telephony.own_sockets import own_sockets

_SEARCHED_BYTES = 320
"""Of a `pjsip_transport`: its local address is within, whatever its version."""


def can_be_found() -> bool:
    """Whether this system lists what a process has open."""
    return Path("/proc/self/fd").is_dir()


def bound_to(port: int, kind: socket.SocketKind) -> set[int]:
    """Those with this port of their own: a listening one, and what has been accepted there."""
    found = set()
    for one, number in own_sockets(kind):
        with one:
            if one.getsockname()[1] == port:
                found.add(number)
    return found


def connection(transport: int) -> int | None:
    """The socket of a TCP connection of PJSIP's (`pjsip_transport *`), if it is to be found.

    That is the one whose two addresses the transport has in it.
    """
    told = ctypes.string_at(transport, _SEARCHED_BYTES)
    for one, number in own_sockets(socket.SOCK_STREAM):
        with one:
            try:
                ends = one.getsockname(), one.getpeername()
            except OSError:  # not connected
                continue
            if one.family == socket.AF_INET and all(_as_stored(*end) in told for end in ends):
                return number
    return None


def _as_stored(host: str, port: int) -> bytes:
    """How `sockaddr_in` begins."""
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host)


class Readers:
    """Has the loop call back when one of the stack's sockets has something to read.

    A socket has to be taken out before the stack closes it, or the loop would spin on whatever gets
    its number next.
    """

    def __init__(self) -> None:
        self._numbers: set[int] = set()
        self._bound: dict[int, set[int]] = {}
        """By port."""
        self._connections: dict[int, int] = {}
        self._unseen: set[int] = set()
        """Connections whose sockets were not found."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_sip: Callable[[], None] = _nothing
        self._finds = can_be_found()
        self._finds_all = True

    @property
    def sees_all(self) -> bool:
        """Whether the loop wakes for whatever arrives; else the stack has to be looked at."""
        return self._finds and self._finds_all and not self._unseen

    def never_sees_all(self) -> None:
        """There are sockets that nobody tells of."""
        self._finds_all = False

    def open(self, loop: asyncio.AbstractEventLoop, on_sip: Callable[[], None]) -> None:
        """Call back from now on, on the loop's thread; until now there are SIP's sockets alone."""
        self._loop, self._on_sip = loop, on_sip
        for number in self._numbers:
            loop.add_reader(number, on_sip)

    def forget(self) -> None:
        """All of SIP's are about to be closed; others may follow."""
        for number in tuple(self._numbers):
            self.remove(number)
        self._bound.clear()
        self._connections.clear()
        self._unseen.clear()

    def add(self, number: int) -> None:
        """One more of SIP's."""
        self._numbers.add(number)
        if self._loop is not None:
            self._loop.add_reader(number, self._on_sip)

    def add_media(self, number: int, on_media: Callable[[], object]) -> None:
        """One more of RTP's, or another callback for it."""
        if self._loop is not None:
            self._loop.add_reader(number, on_media)

    def remove_media(self, number: int) -> None:
        """One less."""
        if self._loop is not None:
            self._loop.remove_reader(number)

    def remove(self, number: int) -> None:
        """One less."""
        self._numbers.discard(number)
        if self._loop is not None:
            self._loop.remove_reader(number)

    def add_bound(self, port: int, kind: socket.SocketKind) -> None:
        """Those that SIP listens at."""
        if self._finds:
            found = bound_to(port, kind)
            self._bound.setdefault(port, set()).update(found)
            for number in found:
                self.add(number)

    def remove_bound(self, port: int) -> None:
        """SIP is about to give that port up."""
        for number in self._bound.pop(port, ()):
            self.remove(number)

    def add_connection(self, transport: int) -> None:
        """A TCP connection has come about (`pjsip_transport *`)."""
        number = connection(transport) if self._finds else None
        if number is None:
            self._unseen.add(transport)
        else:
            self._connections[transport] = number
            self.add(number)

    def remove_connection(self, transport: int) -> None:
        """It is over."""
        self._unseen.discard(transport)
        number = self._connections.pop(transport, None)
        if number is not None:
            self.remove(number)


def _nothing() -> None:
    """Before the loop runs."""
