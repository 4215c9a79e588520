"""One telephone line of the scripted caller: a place in the SIP stack, with sockets of its own.

The stack cannot be told to leave one call without a word, or to be transferred without placing
another call; with sockets for each call, both are done at these.
"""

import re
from dataclasses import replace

import pjsua2

from callerside.agent.telephony import refer
from callerside.agent.telephony.blackhole import SocketBlackhole
from callerside.agent.telephony.options import Transport
from callerside.agent.telephony.pjsua.call import Call
from callerside.agent.telephony.pjsua.stack import Stack

_CONTACT_PORT = re.compile(r":(\d+)[;>]")


class CallerAccount:
    """An account and a SIP port of its own: so that one call alone can be cut off.

    Over TCP the stack makes a connection for it when it needs one, from a port that the
    call's Contact tells; at the line's own port it would take one from the other side.
    """

    def __init__(self, stack: Stack, transport: Transport) -> None:
        self.transport = transport
        self._stack = stack
        self._port_id = self._stack.open_line(transport)
        self.hole: SocketBlackhole | None = None
        """Into which all goes since the line was cut."""
        account = stack.options.account
        config = (
            stack.account_config()
            if account is None
            else stack.caller_config(replace(account, registers=False))
        )
        config.sipConfig.transportId = self._port_id
        self.account = pjsua2.Account()
        self.account.create(config)

    def tap_port(self) -> refer.ReferTap | None:
        """What looks for a REFER at the line's port; None over TCP, which has a connection later.

        Before a call is dialled: until the kernel knows what is ours it hands us anything.
        """
        if self.transport != "udp":
            return None
        return refer.tap("udp", self._stack.line_port(self._port_id))

    def tap_connection(self, call: Call) -> refer.ReferTap:
        """What looks for a REFER where the requests of a call over TCP come in; it was dialled."""
        return refer.tap("tcp", self._signalling_port(call))

    def cut(self, call: Call) -> None:
        """Let nothing of the call pass any more, neither SIP nor RTP."""
        self.hole = SocketBlackhole()
        self.hole.cut(self.transport, {self._signalling_port(call)})
        self.hole.cut("udp", _rtp_ports(call))

    def close(self) -> None:
        """Give up the port and the account; what was cut off stays so until its hole is closed."""
        self.account.shutdown()
        self._stack.close_line(self._port_id)

    def _signalling_port(self, call: Call) -> int:
        if self.transport == "udp":
            return self._stack.line_port(self._port_id)
        told = _CONTACT_PORT.search(call.getInfo().localContact)
        return int(told[1]) if told else 0


def _rtp_ports(call: Call) -> set[int]:
    """The call's own RTP and RTCP ports."""
    ports = set()
    for index in range(len(call.getInfo().media)):
        transport = call.getMedTransportInfo(index)
        for name in (transport.localRtpName, transport.localRtcpName):
            ports.add(int(name.rpartition(":")[2] or 0))
    return ports - {0}


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
