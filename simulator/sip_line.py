"""One telephone line of the scripted caller: a place in the SIP stack, with a port of its own.

The stack cannot be told to leave one call without a word, or to be transferred without placing
another call; with a port for each call, both are done at that port.
"""

from collections.abc import Iterable

import pjsua2

from agent.sip.options import Transport
from agent.sip.stack import Stack
from simulator.black_hole import BlackHole
from simulator.refer import ReferTap


class Line:
    """An account of its own and, over UDP, a SIP port: so that one call alone can be cut off.

    Over TCP the stack makes a connection when it needs one; cutting such a line stops its RTP only.
    """

    def __init__(self, stack: Stack, transport: Transport) -> None:
        self.transport = transport
        self._stack = stack
        self._port_id = self._stack.open_line() if transport == "udp" else None
        self._hole: BlackHole | None = None
        config = self._stack.account_config()
        if self._port_id is not None:
            config.sipConfig.transportId = self._port_id
        self.account = pjsua2.Account()
        self.account.create(config)

    @property
    def is_cut(self) -> bool:
        """Whether nothing passes any more."""
        return self._hole is not None

    def tap(self) -> ReferTap | None:
        """What looks for a REFER on the line's own port, if it has one."""
        return None if self._port_id is None else ReferTap(self._stack.line_port(self._port_id))

    def cut(self, rtp_ports: Iterable[int]) -> None:
        """Let nothing pass any more: neither SIP on the line's own port nor RTP on the call's."""
        self._hole = BlackHole()
        own = () if self._port_id is None else (self._stack.line_port(self._port_id),)
        self._hole.swallow((*own, *rtp_ports))

    def close(self) -> None:
        """Give up the port and the account."""
        self.account.shutdown()
        if self._port_id is not None:
            self._stack.close_line(self._port_id)
        if self._hole is not None:
            self._hole.close()


def transfer_worked() -> pjsua2.CallSendRequestParam:
    """The NOTIFY that says how it went, and ends the subscription (RFC 3515 §2.4.5)."""
    notify = pjsua2.CallSendRequestParam()
    notify.method = "NOTIFY"
    notify.txOption.contentType = "message/sipfrag"
    notify.txOption.msgBody = "SIP/2.0 200 OK\r\n"
    for name, value in (
        ("Event", "refer"),
        ("Subscription-State", "terminated;reason=noresource"),
    ):
        header = pjsua2.SipHeader()
        header.hName, header.hValue = name, value
        notify.txOption.headers.append(header)
    return notify
