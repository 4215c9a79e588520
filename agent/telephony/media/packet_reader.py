"""Reads a call's socket of RTP: each packet when it comes, with when it came and from where."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from callerside.agent.telephony.media.latching import Address
from callerside.clock import NS_PER_MS, NS_PER_S

_MAX_PACKET_BYTES = 2_048
_SO_TIMESTAMPNS = 35
"""Linux, asm-generic/socket.h: each packet comes with when it came."""
_STAMP = struct.Struct("@ll")
_STAMP_ROOM_BYTES = socket.CMSG_SPACE(_STAMP.size)
_MOST_STAMP_AGE_NS = 10 * NS_PER_S
"""Of a packet that waited for a loop that stood still; more is a clock that was set."""
_MOST_WAITING = 500
"""Packets of one socket, read at one go: more than the kernel keeps, unless they go on coming."""

MOST_PER_S = 600
"""Packets that are looked at, of who is expected and of all others each: a call has 50 or 100, and
what waited for it. More are dropped as they are read."""
_MOST_DROPPED = 200
"""At one go, before others have their turn."""

_AT_ONCE_NS = NS_PER_MS // 20
"""Clocks that are read within so long were read at one instant."""
_MOST_READINGS = 5

OnPacket = Callable[[bytes, Address, int], None]
"""Told of a packet: its bytes, its source, and when it came in, on the monotonic clock."""


def stamp(own: socket.socket) -> None:
    """Have each packet that comes from now on say when it came, where the system can."""
    with contextlib.suppress(OSError):  # no such option: then a packet comes when it is read
        own.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


def _both_clocks() -> tuple[int, int]:
    """What the wall clock shows and what the monotonic one, as far as possible at one instant.

    Where the thread loses its processor in between each time, the latter is rather too late: a
    packet that is told too early came before it was sent.
    """
    for _ in range(_MOST_READINGS):
        before_ns, wall_ns, now_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if now_ns - before_ns < _AT_ONCE_NS:
            break
    return wall_ns, now_ns


class PacketReader:
    """One socket; `read` is for a loop that has found something there.

    Args:
        own: the socket.
        on_packet: told of each packet.
        on_flood: told from where packets come that are dropped.
    """

    def __init__(
        self,
        own: socket.socket,
        on_packet: OnPacket,
        on_flood: Callable[[Address], None] | None = None,
    ) -> None:
        self._socket = own
        self.on_packet = on_packet
        self.on_flood = on_flood
        self.expected: Address = ("", 0)
        """Where the other side's come from: others take nothing of what is left to it."""
        self._second_ns = self._of_it = self._of_others = 0
        stamp(own)

    def read(self) -> bool:
        """Take one packet: where there are more, the loop comes again, others in between.

        Returns:
            Whether there was one.
        """
        for _ in range(_MOST_DROPPED):
            try:
                data, extra, _, source = self._socket.recvmsg(
                    _MAX_PACKET_BYTES, _STAMP_ROOM_BYTES, socket.MSG_DONTWAIT
                )
            except OSError:  # nobody listens where we send to, as ICMP says; or there is nothing
                return False
            source = source[:2]  # IPv6 tells more
            at_ns = time.monotonic_ns()
            if at_ns - self._second_ns >= NS_PER_S:
                self._second_ns, self._of_it, self._of_others = at_ns, 0, 0
            if source == self.expected:
                self._of_it += 1
                is_flood = self._of_it > MOST_PER_S
            else:
                self._of_others += 1
                is_flood = self._of_others > MOST_PER_S
            if not is_flood:
                break
            if self.on_flood is not None:
                self.on_flood(source)
        else:
            return True
        for _, _, stamp in extra:
            seconds, rest_ns = _STAMP.unpack_from(stamp)
            wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
            if now_ns - at_ns > _AT_ONCE_NS:
                wall_ns, now_ns = _both_clocks()
            age_ns = wall_ns - (seconds * NS_PER_S + rest_ns)
            if 0 <= age_ns < _MOST_STAMP_AGE_NS:
                at_ns = now_ns - age_ns
        self.on_packet(data, source, at_ns)
        return True

    def read_all(self) -> None:
        """Take what is there, before it is said that nothing is: the loop may have stood still."""
        for _ in range(_MOST_WAITING):
            if not self.read():
                return
