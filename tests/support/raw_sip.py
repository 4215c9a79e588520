"""A telephone of a few lines that says exactly what a test wants it to say, right or wrong.

Real SIP stacks are too well-behaved to send what the agent has to survive.
"""

import contextlib
import itertools
import random
import re
import socket
import struct
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from callerside.addresses import host_of, in_uri, joined, port_of
from callerside.agent.telephony.options import Transport
from callerside.families import family_of

WAIT_S = 10.0
RETRANSMIT_S = 0.5
"""T1 of RFC 3261."""
RTP_FRAME_BYTES = 160
_IPV6_FREEBIND = 78
"""Of linux/in6.h; Python has no name for it."""


class RawPhone:
    """One call over UDP or TCP, and one RTP socket."""

    def __init__(
        self,
        agent_port: int,
        bind_host: str = "127.0.0.1",
        over: Transport = "udp",
        call_id: bytes | None = None,
        agent_host: str | None = None,
    ) -> None:
        self.host = bind_host
        self._agent = (agent_host or ("::1" if ":" in bind_host else "127.0.0.1"), agent_port)
        self._over = over
        self._sip = udp_socket(bind_host) if over == "udp" else _TcpWire(bind_host, self._agent)
        self.rtp = udp_socket(bind_host)
        self.call_id = _text(call_id or uuid.uuid4().hex.encode())
        self.target = f"sip:100@{joined(*self._agent)}"
        """The address that requests go to."""
        self.called = f"sip:100@{in_uri(self._agent[0])}"
        """Whom we say that we call."""
        self.called_back = ""
        """What our Contact says, if it is not where we are."""
        self._to_tag = ""
        self._cseq = 1
        self.last = b""
        """The last request, as it was sent."""
        self._branch = ""
        self._rtp_sequence = 0
        self._source = random.getrandbits(32)
        self._asked = ""

    def __enter__(self) -> "RawPhone":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._sip.close()
        self.rtp.close()

    @property
    def place(self) -> str:
        """Our host as descriptions have it."""
        return f"IN {'IP6' if ':' in self.host else 'IP4'} {self.host}"

    @property
    def nowhere(self) -> str:
        """No host, as descriptions have it."""
        return "IN IP6 ::" if ":" in self.host else "IN IP4 0.0.0.0"

    @property
    def sip_port(self) -> int:
        """Where our SIP is."""
        port: int = self._sip.getsockname()[1]
        return port

    @property
    def rtp_port(self) -> int:
        """Where our RTP really is."""
        port: int = self.rtp.getsockname()[1]
        return port

    def sdp(
        self, *, codecs: str = "0", attributes: str = "a=sendrecv", port: int | None = None
    ) -> str:
        """An offer of one audio stream."""
        shown = self.rtp_port if port is None else port
        return (
            f"v=0\r\no=raw 1 1 {self.place}\r\ns=-\r\nc={self.place}\r\nt=0 0\r\n"
            f"m=audio {shown} RTP/AVP {codecs}\r\n{attributes}\r\n"
        )

    def offer(self, *lines: str, version: int = 1) -> str:
        """An offer of these lines; `{port}` in one is where our RTP really is."""
        body = "\r\n".join(lines).replace("{port}", str(self.rtp_port))
        return (
            f"v=0\r\no=raw 1 {version} {self.place}\r\ns=-\r\nc={self.place}\r\nt=0 0\r\n{body}\r\n"
        )

    def send_bytes(self, datagram: bytes) -> None:
        """Anything at all, to the agent's SIP port."""
        self._sip.sendto(datagram, self._agent)

    @property
    def contact(self) -> str:
        """Where we are called back."""
        over = ";transport=tcp" if self._over == "tcp" else ""
        return f"sip:raw@{joined(self.host, self._sip.getsockname()[1])}{over}"

    def send(
        self,
        method: str,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        cseq: int | None = None,
        branch: str = "",
    ) -> None:
        """A request of this call, and of a transaction of its own."""
        via = f"{self._over.upper()} {self.contact.partition('@')[2].partition(';')[0]}"
        self._branch = branch or uuid.uuid4().hex
        named = {"Contact": f"<{self.called_back or self.contact}>", **(headers or {})}
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/{via};rport;branch=z9hG4bK{self._branch}",
            "Max-Forwards: 70",
            f"From: <sip:raw@{in_uri(self.host)}>;tag=raw",
            f"To: <{self.called}>{';tag=' + self._to_tag if self._to_tag else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self._cseq if cseq is None else cseq} {method}",
            *(f"{name}: {value}" for name, value in named.items()),
        ]
        if body and "Content-Type" not in (headers or {}):
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        self.last = "\r\n".join(lines).encode(errors="surrogateescape")
        self.send_bytes(self.last)

    def acknowledge(self) -> None:
        """The ACK of a refusal, which is of the INVITE's own transaction (RFC 3261 §17.1.1.3)."""
        self.send("ACK", branch=self._branch)

    def final(self, method: str = "INVITE", within_s: float = WAIT_S) -> "Response":
        """The final response to the last request, which is sent again until there is an answer.

        One to a request before it may come again meanwhile.
        """
        deadline = time.monotonic() + within_s
        number = _number_of(self.last, method)
        while time.monotonic() < deadline:
            response = self._receive()
            if response is None and self._over == "udp":
                self.send_bytes(self.last)
            elif response is None:
                continue
            elif (
                response.status >= 200
                and response.method == method
                and number in ("", response.number)
            ):
                self._to_tag = response.to_tag or self._to_tag
                return response
        raise TimeoutError(f"no final response to {method} in {within_s} s")

    def call(self, body: str) -> "Response":
        """INVITE, and ACK of whatever comes of it."""
        self.send("INVITE", body)
        response = self.final()
        self.send("ACK", cseq=self._cseq)
        return response

    def request(self, method: str, body: str = "", headers: Mapping[str, str] | None = None) -> int:
        """One more request of the call; returns the final status."""
        return self.ask(method, body, headers).status

    def ask(
        self, method: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> "Response":
        """One more request of the call; returns the final response."""
        self._cseq += 1
        self.send(method, body, headers)
        response = self.final(method)
        if method == "INVITE":
            self.send("ACK", cseq=self._cseq)
        return response

    def answer_request(self, method: str, status_line: bytes) -> None:
        """Wait for a request of the agent's, and answer it with this status and reason."""
        self._sip.settimeout(WAIT_S)
        while True:
            request = _text(self._sip.recv(65536))
            if request.startswith(method):
                break
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        kept = [line for line in request.split("\r\n") if line.startswith(names)]
        lines = [f"SIP/2.0 {_text(status_line)}", *kept, "Content-Length: 0", "", ""]
        self.send_bytes("\r\n".join(lines).encode(errors="surrogateescape"))

    def send_rtp(self, payload: bytes, to_port: int, payload_type: int = 0) -> None:
        """One RTP packet (RFC 3550 §5.1); what is not sent in between is left out of time."""
        self._rtp_sequence += 1
        header = struct.pack(
            "!BBHII",
            0x80,
            payload_type,
            self._rtp_sequence & 0xFFFF,
            (self._rtp_sequence * RTP_FRAME_BYTES) & 0xFFFFFFFF,
            self._source,
        )
        self.rtp.sendto(header + payload, (self._agent[0], to_port))

    def asked(self, method: str = "", within_s: float = WAIT_S) -> str:
        """The next request to us, of a method if one is named; empty if none comes in time.

        What is sent again is one request.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self._sip.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                message = self._sip.recv(65536).decode(errors="replace")
            except TimeoutError:
                return ""
            is_again, self._asked = message == self._asked, message
            if message.startswith(method) and not message.startswith("SIP/2.0") and not is_again:
                return message
        return ""

    def reply(self, request: str, status: str, *headers: str, body: str = "") -> None:
        """Answer such a request, with a session description if there is one."""
        kept = re.findall(r"^((?:Via|From|To|Call-ID|CSeq):.*?)\r?$", request, re.MULTILINE)
        kept = [
            f"{line};tag=raw" if line.startswith("To:") and ";tag=" not in line else line
            for line in kept
        ]
        if body:
            headers = (f"Contact: <{self.contact}>", "Content-Type: application/sdp", *headers)
        length = f"Content-Length: {len(body)}"
        self.send_bytes(
            "\r\n".join([f"SIP/2.0 {status}", *kept, *headers, length, "", body]).encode()
        )

    def take(self, invite: str) -> int:
        """Be the other side of a call that has come from now on; returns where its RTP goes."""
        told = Response(invite)
        contact = re.search(r"<(sip:[^>]*)>", told.header("Contact"))
        caller = re.search(r"<?(sip:[^>;]*)>?;tag=([^;\s]*)", told.header("From"))
        assert contact is not None
        assert caller is not None
        self.target, (self.called, self._to_tag) = contact[1], caller.groups()
        self.call_id = told.header("Call-ID")
        place = self.target.partition("@")[2].partition(";")[0]
        self._agent = (host_of(place), port_of(place) or 0)
        return told.audio_port

    def forget_rtp(self) -> int:
        """Drop the packets that have come so far; returns how many there were."""
        count = 0
        self.rtp.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while self.rtp.recv(2048):
                count += 1
        self.rtp.settimeout(WAIT_S)
        return count

    def packets(self, within_s: float) -> int:
        """How many packets come from now on."""
        self.forget_rtp()
        time.sleep(within_s)
        return self.forget_rtp()

    def _receive(self) -> "Response | None":
        """The next response; None if there is none for a while."""
        self._sip.settimeout(RETRANSMIT_S)
        while True:
            try:
                message = self._sip.recv(65536).decode(errors="replace")
            except TimeoutError:
                return None
            if message.startswith("SIP/2.0"):
                return Response(message)


class Response:
    """A SIP response, or what a request has in common with one, as far as the tests look at it."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.status = int(message.split(" ", 2)[1]) if message.startswith("SIP/2.0") else 0
        self.number, _, self.method = self.header("CSeq").rpartition(" ")
        tag = re.search(r";tag=([^;\r\n]+)", self.header("To"))
        self.to_tag = tag[1] if tag else ""

    def header(self, name: str) -> str:
        """A header's value; empty if it is not there."""
        found = re.search(rf"^{name}\s*:\s*(.*?)\r?$", self.message, re.IGNORECASE | re.MULTILINE)
        return found[1] if found else ""

    @property
    def media(self) -> list[tuple[str, int]]:
        """Of the SDP: what each line is of, and its port, 0 where it is refused."""
        lines = re.findall(r"^m=(\S+) (\d+)", self.message, re.MULTILINE)
        return [(kind, int(port)) for kind, port in lines]

    @property
    def audio_port(self) -> int:
        """Of the SDP; 0 without one, or when the stream is refused."""
        found = re.search(r"^m=audio (\d+)", self.message, re.MULTILINE)
        return int(found[1]) if found else 0


class _TcpWire:
    """A TCP connection that is worked like a UDP socket: one message at a time."""

    def __init__(self, host: str, peer: tuple[str, int]) -> None:
        self._socket = socket.create_connection(peer, WAIT_S, (host, 0))
        self._received = b""
        self.settimeout = self._socket.settimeout
        self.getsockname = self._socket.getsockname
        self.close = self._socket.close

    def sendto(self, data: bytes, _peer: tuple[str, int]) -> None:
        """Over the one connection that there is."""
        self._socket.sendall(data)

    def recv(self, _most_bytes: int) -> bytes:
        """The next whole message."""
        while True:
            head, gap, rest = self._received.lstrip(b"\r\n").partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head)
            size = int(length[1]) if length else 0
            if gap and len(rest) >= size:
                self._received = rest[size:]
                return head + gap + rest[:size]
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("the other side has closed the connection")
            self._received += more


def _text(wire: bytes) -> str:
    """Bytes as they are; `encode(errors="surrogateescape")` is the way back."""
    return wire.decode(errors="surrogateescape")


class Flood:
    """Very many INVITEs, each of a call of its own, as fast as is asked for; nothing is waited for.

    `bodies` are sent in turn. With `cancel` each is followed by its CANCEL; a call that was
    answered all the same is ended at once, others when `end_calls` says so.
    """

    def __init__(
        self, agent_port: int, host: str, *, cancel: bool = False, bodies: Sequence[str] = ("",)
    ) -> None:
        self.answers: Counter[int] = Counter()
        """Final answers to INVITEs, of which each is counted once."""
        self.without_retry_after = 0
        self._agent = ("127.0.0.1", agent_port)
        self._host = host
        self._cancel = cancel
        self._bodies = itertools.cycle(bodies)
        self._answered: set[str] = set()
        self._up: dict[str, str] = {}
        self._sip = udp_socket(host)

    def run(self, count: int, per_s: float) -> None:
        """Send, and read what comes meanwhile, and for a moment longer."""
        began_s = time.monotonic()
        for number in range(count):
            self._send("INVITE", uuid.uuid4().hex)
            self._read_until(began_s + (number + 1) / per_s)
        self._read_until(time.monotonic() + RETRANSMIT_S)

    def end_calls(self) -> None:
        """ACK and BYE of all calls that were answered."""
        for call_id, to_tag in self._up.items():
            self._send("ACK", call_id, f";tag={to_tag}")
            self._send("BYE", call_id, f";tag={to_tag}", cseq=2)
        self._up.clear()

    def close(self) -> None:
        """Stop listening."""
        self._sip.close()

    def _send(self, method: str, call_id: str, to_tag: str = "", cseq: int = 1) -> None:
        body = next(self._bodies) if method == "INVITE" else ""
        branch = call_id if method in ("INVITE", "CANCEL") else uuid.uuid4().hex
        port = self._sip.getsockname()[1]
        lines = [
            f"{method} sip:100@127.0.0.1:{self._agent[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._host}:{port};rport;branch=z9hG4bK{branch}",
            "Max-Forwards: 70",
            f"From: <sip:flood@{self._host}>;tag=flood",
            f"To: <sip:100@127.0.0.1>{to_tag}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:flood@{self._host}:{port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        self._sip.sendto("\r\n".join(lines).encode(), self._agent)
        if method == "INVITE" and self._cancel:
            self._send("CANCEL", call_id)

    def _read_until(self, deadline_s: float) -> None:
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._sip.settimeout(left_s)
            try:
                message = self._sip.recv(65536).decode(errors="replace")
            except TimeoutError:
                return
            if message.startswith("SIP/2.0"):
                self._take(Response(message))

    def _take(self, response: "Response") -> None:
        call_id = response.header("Call-ID")
        if response.method != "INVITE" or response.status < 200 or call_id in self._answered:
            return
        self._answered.add(call_id)
        self.answers[response.status] += 1
        if response.status == 503 and not response.header("Retry-After"):
            self.without_retry_after += 1
        if response.status == 200:
            self._up[call_id] = response.to_tag
        if self._cancel:
            self.end_calls()


def _number_of(request: bytes, method: str) -> str:
    """Of its CSeq; empty: it is no such request, or its CSeq is none."""
    found = Response(_text(request))
    return found.number if found.method == method and found.number.isdecimal() else ""


def udp_socket(host: str) -> socket.socket:
    """At any port of a host that may be somebody else's."""
    opened = socket.socket(family_of(host), socket.SOCK_DGRAM)
    if opened.family == socket.AF_INET6:  # from addresses that are not this machine's, too
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    opened.bind((host, 0))
    opened.settimeout(WAIT_S)
    return opened
