"""Whoever the agent calls to hand a caller over: a small SIP telephone of our own, on UDP.

It rings, answers or refuses, and hangs up, as the call's scenario says, and takes whatever RTP
comes. It knows whose call it is by the number that the caller had called, which its INVITE tells.
"""

import asyncio
import itertools
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from callerside.agent.telephony.engine import CALLED_HEADER
from callerside.agent.telephony.sip_message import SipMessage
from callerside.simulator.scenario.model import Target

_HOST = "127.0.0.1"
_CONTACT = re.compile(r"<?(sips?:[^>\s]+)>?")
_PAYLOADS = re.compile(r"^m=audio \d+ RTP/AVP ([\d ]+)", re.MULTILINE)
_KNOWN = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000"}
_AGAIN_S = 0.5
"""T1 (RFC 3261 §13.3.1.4): after which a 200 that nobody has acknowledged is sent again."""
_MOST_TIMES = 64
_REASONS = {180: "Ringing", 200: "OK", 480: "Temporarily Unavailable", 481: "No Such Call",
            486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here"}  # fmt: skip
_MOST_CALLS = 1_000


@dataclass
class _Call:
    """One call that has come."""

    invite: SipMessage
    peer: tuple[str, int]
    target: Target
    tag: str
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    rtp: socket.socket | None = None
    is_up: bool = False
    is_over: bool = False


class Targets(asyncio.DatagramProtocol):
    """All of a run's."""

    def __init__(self) -> None:
        """`listening` makes them."""
        self.address = ""
        """`host:port`."""
        self.heard_bytes: dict[str, int] = {}
        """Of RTP's payload, by whose call it was."""
        self.messages: list[SipMessage] = []
        """What came for calls, in order: for tests."""
        self._expected: dict[str, Target] = {}
        self._calls: dict[str, _Call] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def listening(cls) -> Self:
        """On a free port of loopback."""
        loop = asyncio.get_running_loop()
        _, targets = await loop.create_datagram_endpoint(cls, (_HOST, 0))
        return targets

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """It is bound."""
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def close(self) -> None:
        """Take no more, and leave who is still there."""
        for call in self._calls.values():
            self._end(call)
        if self._transport is not None:
            self._transport.close()

    def expect(self, whose: str, target: Target) -> None:
        """How the calls on behalf of one caller are taken: whoever called that number."""
        self._expected[whose] = target

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A message; what cannot be read is nobody's."""
        message = SipMessage(data.decode("utf-8", "replace"))
        if not message.call_id or message.status:
            return
        if len(self.messages) < _MOST_CALLS:
            self.messages.append(message)
        call = self._calls.get(message.call_id)
        if call is not None:
            self._on_request(call, message, addr)
        elif message.begins_call:
            self._ring(message, addr)
        elif message.method != "ACK":
            self._answer(message, addr, 481)

    def _on_request(self, call: _Call, message: SipMessage, addr: tuple[str, int]) -> None:
        if message.method == "ACK":
            self._quiet(call)
            if call.is_up and call.target.hangs_up_after is not None and not call.is_over:
                self._later(call, call.target.hangs_up_after, lambda: self._hang_up(call))
        elif message.method == "CANCEL":
            self._answer(message, addr, 200, call.tag)
            if not call.is_up:
                self._answer(call.invite, call.peer, 487, call.tag)
                self._end(call)
        elif message.method == "BYE":
            self._answer(message, addr, 200, call.tag)
            self._end(call)
        elif message.method != "INVITE":  # one that is sent again is answered already, or will be
            self._answer(message, addr, 481)

    def _ring(self, invite: SipMessage, peer: tuple[str, int]) -> None:
        whose = invite.header(CALLED_HEADER.lower())
        target = self._expected.get(whose)
        if target is None or len(self._calls) >= _MOST_CALLS:
            self._answer(invite, peer, 480, "nobody")
            return
        call = _Call(invite, peer, target, f"target{next(self._numbers)}")
        self._calls[invite.call_id] = call
        self._answer(invite, peer, 180, call.tag)
        self._later(call, target.answers_after, lambda: self._take(call, whose))

    def _take(self, call: _Call, whose: str) -> None:
        payloads = _PAYLOADS.search(call.invite.body)
        offered = payloads[1].split() if payloads else []
        payload = next((one for one in offered if one in _KNOWN), None)
        status = call.target.refuses or (200 if payload else 488)
        if status != 200 or payload is None:
            self._answer(call.invite, call.peer, status, call.tag)
            self._quiet(call)
            return
        call.is_up = True
        call.rtp = rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtp.setblocking(False)
        rtp.bind((_HOST, 0))
        self._loop.add_reader(rtp, self._hear, rtp, whose)
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {_HOST}\r\ns=-\r\nc=IN IP4 {_HOST}\r\nt=0 0\r\n"
            f"m=audio {rtp.getsockname()[1]} RTP/AVP {payload}\r\n"
            f"a=rtpmap:{payload} {_KNOWN[payload]}\r\na=sendrecv\r\n"
        )
        self._send_answer(call, body, _MOST_TIMES)

    def _send_answer(self, call: _Call, body: str, times: int) -> None:
        self._answer(call.invite, call.peer, 200, call.tag, body)
        if times > 1:
            self._later(call, _AGAIN_S * 1000, lambda: self._send_answer(call, body, times - 1))

    def _hear(self, rtp: socket.socket, whose: str) -> None:
        packet = rtp.recv(2048)
        self.heard_bytes[whose] = self.heard_bytes.get(whose, 0) + max(0, len(packet) - 12)

    def _hang_up(self, call: _Call) -> None:
        invite, number = call.invite, next(self._numbers)
        found = _CONTACT.search(invite.header("contact"))
        to = found[1] if found else ""
        lines = [
            f"BYE {to} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address};branch=z9hG4bKtarget{number};rport",
            "Max-Forwards: 70",
            f"From: {invite.header('to')};tag={call.tag}",
            f"To: {invite.header('from')}",
            f"Call-ID: {invite.call_id}",
            f"CSeq: {number} BYE",
        ]
        self._send(lines, "", call.peer)
        self._end(call)

    def _answer(
        self, request: SipMessage, peer: tuple[str, int], status: int, tag: str = "", body: str = ""
    ) -> None:
        to = request.header("to")
        to += f";tag={tag}" if tag and not request.in_dialog else ""
        lines = [
            f"SIP/2.0 {status} {_REASONS.get(status, 'Refused')}",
            *(f"Via: {via}" for via in request.headers("via")),
            f"From: {request.header('from')}",
            f"To: {to}",
            f"Call-ID: {request.call_id}",
            f"CSeq: {request.header('cseq')}",
            f"Contact: <sip:target@{self.address}>",
        ]
        self._send(lines, body, peer)

    def _send(self, lines: list[str], body: str, peer: tuple[str, int]) -> None:
        kind = ["Content-Type: application/sdp"] if body else []
        head = "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}"])
        if self._transport is not None:
            self._transport.sendto(f"{head}\r\n\r\n{body}".encode(), peer)

    def _later(self, call: _Call, after_ms: float, act: Callable[[], None]) -> None:
        call.timers.append(self._loop.call_later(after_ms / 1000, act))

    def _quiet(self, call: _Call) -> None:
        for timer in call.timers:
            timer.cancel()
        call.timers.clear()

    def _end(self, call: _Call) -> None:
        call.is_over = True
        self._quiet(call)
        if call.rtp is not None:
            self._loop.remove_reader(call.rtp)
            call.rtp.close()
            call.rtp = None
