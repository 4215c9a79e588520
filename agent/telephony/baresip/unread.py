"""What baresip's parser cannot read by UDP: it drops that, with a line on standard error for each.

So its parser is asked first, on each packet, and what it cannot read does not get to it again: it
is told, and answered as far as it can be. By TCP and TLS the connection ends, without a line.
"""

import ctypes
from collections.abc import Callable

import structlog

from callerside.addresses import joined
from callerside.agent.telephony.baresip.native import Library, Mbuf, PacketHandler
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.own_answer import own_answer
from callerside.agent.telephony.sip_message import SipMessage

_log = structlog.get_logger(__name__)

OnUnread = Callable[[str, str], Answer | None]
"""Called on the stack's thread with what was dropped, and where it came from ("host:port"); returns
what it is answered, if anything."""

_KEEPALIVE_BYTES = 4
"""Of what is no longer than that the stack takes no notice."""


class Unread:
    """Keep it until the stack is destroyed.

    Args:
        library: the stack's.
        on_unread: told of each.
    """

    def __init__(self, library: Library, on_unread: OnUnread) -> None:
        self._library = library
        self._on_unread = on_unread
        self._handlers: list[object] = []

    def open(self) -> None:
        """Stand before each socket of SIP by UDP; on the stack's thread, when it has them all.

        Raises:
            SipError: they are not where they were.
        """
        for sock in self._library.sip_datagram_sockets():
            self._stand_before(sock)

    def _stand_before(self, sock: int) -> None:
        def came(source: int, packet: int, _: object) -> bool:
            try:
                return self._is_dropped(sock, source, Mbuf.from_address(packet), packet)
            except Exception:  # what is raised here would be lost in the stack's thread
                _log.exception("sip_message_failed")
                return False

        handler = PacketHandler(came)
        self._handlers.append(handler)
        self._library.look_first(sock, handler)

    def _is_dropped(self, sock: int, source: int, packet: Mbuf, at: int) -> bool:
        if packet.end <= _KEEPALIVE_BYTES or self._library.can_read(packet, at):
            return False
        wire = ctypes.string_at(packet.buf + packet.pos, packet.end - packet.pos)
        text = wire.decode(errors="surrogateescape")
        if not text.strip("\r\n"):  # it keeps an address alive
            return True
        place = joined(*self._library.address(source))
        answer = self._on_unread(text, place)
        if answer is not None:
            made = own_answer(SipMessage(text), answer, place, datagram=True)
            if made is not None:
                self._library.send_datagram(sock, made[0].encode(errors="surrogateescape"), made[1])
        return True
