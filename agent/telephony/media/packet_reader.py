"""Reads a call's socket of RTP: each packet when it comes, with when it came and from where."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from callerside.agent.telephony.latching import Address
from callerside.clock import NS_PER_S

_MAX_PACKET_BYTES = 2_048
_SO_TIMESTAMPNS = 35
"""Linux, asm-generic/socket.h: each packet comes with when it came."""
_STAMP = struct.Struct("@ll")
_STAMP_ROOM_BYTES = socket.CMSG_SPACE(_STAMP.size)
_MOST_STAMP_AGE_NS = 10 * NS_PER_S
"""Of a packet that waited for a loop that stood still; more is a clock that was set."""
_MOST_WAITING = 500
"""Packets of one socket, read at one go: more than the kernel keeps, unless they go on coming."""

OnPacket = Callable[[bytes, Address, int], None]
"""Told of a packet: its bytes, its source, and when it came in, on the monotonic clock."""


def stamp(own: socket.socket) -> None:
    """Have each packet that comes from now on say when it came, where the system can."""
    with contextlib.suppress(OSError):  # no such option: then a packet comes when it is read
        own.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)


class PacketReader:
    """One socket; `read` is for a loop that has found something there.

    Args:
        own: the socket.
        on_packet: told of each packet.
    """

    def __init__(self, own: socket.socket, on_packet: OnPacket) -> None:
        self._socket = own
        self.on_packet = on_packet
        stamp(own)

    def read(self) -> bool:
        """Take one packet: where there are more, the loop comes again, others in between.

        Returns:
            Whether there was one.
        """
        try:
            data, extra, _, source = self._socket.recvmsg(
                _MAX_PACKET_BYTES, _STAMP_ROOM_BYTES, socket.MSG_DONTWAIT
            )
        except OSError:  # nobody listens where we send to, as ICMP says; or there is nothing
            return False
        at_ns = time.monotonic_ns()
        for _, _, stamp in extra:
            seconds, rest_ns = _STAMP.unpack_from(stamp)
            age_ns = time.time_ns() - (seconds * NS_PER_S + rest_ns)
            if 0 <= age_ns < _MOST_STAMP_AGE_NS:
                at_ns -= age_ns
        self.on_packet(data, source, at_ns)
        return True

    def read_all(self) -> None:
        """Take what is there, before it is said that nothing is: the loop may have stood still."""
        for _ in range(_MOST_WAITING):
            if not self.read():
                return
