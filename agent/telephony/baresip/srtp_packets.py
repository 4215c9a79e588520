"""A call's packets, encrypted and decrypted by what baresip's library has for it.

Its own streams are not used (see the room's other modules), so neither is what it puts before them.
"""

import ctypes

from callerside.agent.telephony.baresip.native import Library, Mbuf, Pointer
from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.srtp import SUITES, SrtpKeys

_ROOM_BYTES = 2_048 + 64
"""For the largest packet that is read, and what is added to it."""


class SrtpPackets:
    """Both directions of one call, from when their keys are agreed upon.

    What protects is for one thread at a time, and so is what takes off.

    Raises:
        SipError: the library does not take the keys.
    """

    def __init__(self, library: Library, keys: SrtpKeys) -> None:
        self.keys = keys
        self._library = library
        self._out = _Direction(library, keys.suite, keys.own)
        self._in = _Direction(library, keys.suite, keys.theirs)

    def protect(self, packet: bytes) -> bytes | None:
        """A packet as it leaves; None: it cannot."""
        return self._out.apply(self._library.srtp_encrypt, packet)

    def unprotect(self, packet: bytes) -> bytes | None:
        """A packet that came; None: it is not the other side's, or came before."""
        return self._in.apply(self._library.srtp_decrypt, packet)

    def protect_report(self, packet: bytes) -> bytes | None:
        """As `protect`, of RTCP."""
        return self._out.apply(self._library.srtcp_encrypt, packet)

    def unprotect_report(self, packet: bytes) -> bytes | None:
        """As `unprotect`, of RTCP."""
        return self._in.apply(self._library.srtcp_decrypt, packet)

    def close(self) -> None:
        """Free it; nothing of it may be used any more."""
        self._out.close()
        self._in.close()


class _Direction:
    def __init__(self, library: Library, suite: str, key: bytes) -> None:
        self._library = library
        self._context = Pointer()
        number = SUITES.index(suite)  # `enum srtp_suite` has them in this order
        error = library.srtp_alloc(ctypes.byref(self._context), number, key, len(key), 0)
        self._buffer = library.mbuf_alloc(_ROOM_BYTES)
        if error or not self._buffer:
            raise SipError(f"baresip has no SRTP of {suite}: error {error}")
        self._mbuf = Mbuf.from_address(self._buffer)

    def apply(self, transform: "ctypes._NamedFuncPointer", packet: bytes) -> bytes | None:
        if len(packet) > self._mbuf.size:
            return None
        ctypes.memmove(self._mbuf.buf, packet, len(packet))
        self._mbuf.pos, self._mbuf.end = 0, len(packet)
        if transform(self._context, self._buffer):
            return None
        return ctypes.string_at(self._mbuf.buf, self._mbuf.end)

    def close(self) -> None:
        self._library.mem_deref(self._buffer)
        self._library.mem_deref(self._context)
