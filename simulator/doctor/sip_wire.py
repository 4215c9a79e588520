"""One call by hand: SIP messages and RTP packets on plain sockets, each kept as it was.

A SIP stack would hide what `callerside doctor` is there to show. So this says no more than one call
needs (RFC 3261): REGISTER, OPTIONS, INVITE with a digest if one is asked for, ACK, BYE.
"""

import contextlib
import hashlib
import re
import secrets
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from callerside.addresses import Family, is_ipv6, joined
from callerside.agent.telephony.media.rtp import RtpPacket, Sender, parse
from callerside.agent.telephony.options import SipAccount, Transport, suffix_of
from callerside.agent.telephony.sip_message import SipMessage
from callerside.families import family_of

_T1_S, _T2_S = 0.5, 4.0
"""RFC 3261 §17.1.1.1."""
_MOST_BYTES = 65_536
_SHOWN_BYTES = 32
_SETTLED_S = 2.0
"""Whoever hears us so long knows of us: a receiver waits for two packets (RFC 3550 §A.1)."""
_REPORTS = (200, 201)
"""Types of RTCP: of a sender, of a receiver (RFC 3550 §6.4)."""
_BLOCKS = 0x1F
"""Of the first byte: how many sources it reports of. Some never say any, whatever they hear."""
_SILENCE = b"\xff" * 160
"""20 ms of PCMU."""
_FRAME_S = 0.02
_CHALLENGES = (401, 407)
_TOO_BRIEF = 423
_LONGEST_S = 86_400
"""That an account may register for (`simulator.lanes.sip.account`)."""
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_RECORD_ROUTE = re.compile(r"^record-route:\s*(.*?)\r?$", re.IGNORECASE | re.MULTILINE)
_TAG = re.compile(r";\s*tag=([^;>\s]+)", re.IGNORECASE)


@dataclass
class Arrivals:
    """What has come by RTP."""

    packets: list[RtpPacket] = field(default_factory=list)
    sources: set[tuple[str, int]] = field(default_factory=set)
    reports: int = 0
    """Packets of RTCP."""
    hears_us: bool = False
    """Whether one of those reports of what we sent."""
    first: str = ""
    """The first packet of RTP, as it came."""
    deaf: str = ""
    """The last report that knew nothing of what had been sent for `_SETTLED_S`, as it came."""
    hears_another: bool = False
    """Whether such a report was of what somebody else had sent."""


class Wire:
    """The sockets of one call, and what passed by them.

    Raises:
        OSError: they cannot be opened, or over TCP nobody takes the connection.
    """

    def __init__(
        self,
        here: str,
        there: tuple[str, int],
        over: Transport,
        wait_s: float,
        context: ssl.SSLContext | None = None,
        name: str = "",
    ) -> None:
        """`context` and `name`: of TLS, and whose certificate it is to be."""
        self.over = over
        self.there = there
        self._received = b""
        self.log: list[str] = []
        """The first lines of each message, in their order."""
        self.rtp, self.rtcp = _rtp_pair(here)
        self.source = uuid_32()
        try:
            if over != "udp":
                self._sip = socket.create_connection(there, wait_s, (here, 0))
                if context is not None:
                    self._sip = context.wrap_socket(self._sip, server_hostname=name)
            else:
                self._sip = socket.socket(family_of(here), socket.SOCK_DGRAM)
                self._sip.bind((here, 0))
                self._sip.connect(there)  # so that a refusal by ICMP is told
        except OSError:
            self.close()
            raise
        self.here: tuple[str, int] = self._sip.getsockname()[:2]
        self.family: Family = "IP6" if is_ipv6(here) else "IP4"

    def close(self) -> None:
        """Give the sockets back."""
        for one in (self.rtp, self.rtcp, getattr(self, "_sip", None)):
            if one is not None:
                one.close()

    def send(self, message: str) -> None:
        """One SIP message.

        Raises:
            OSError: it is refused.
        """
        self.log.append(f"-> {_shown(message)}")
        self._sip.sendall(message.encode("utf-8", "surrogateescape"))

    def receive(self, wait_s: float) -> SipMessage | None:
        """The next SIP message; None if none comes.

        Raises:
            OSError: what was sent is refused, or the connection is closed.
        """
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._sip.settimeout(left_s)
            try:
                data = self._sip.recv(_MOST_BYTES)
            except TimeoutError:
                return None
            if not data and self.over != "udp":
                raise ConnectionError("the other side has closed the connection")
            self._received += data
            text = self._whole()
            if text:
                self.log.append(f"<- {_shown(text)}")
                return SipMessage(text)
        return None

    def _whole(self) -> str:
        data = self._received.lstrip(b"\r\n")
        if self.over == "udp":
            self._received = b""
            return data.decode("utf-8", "surrogateescape")
        head, end, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head)
        size = int(length[1]) if length else 0
        if not end or len(rest) < size:
            return ""
        self._received = rest[size:]
        return (head + end + rest[:size]).decode("utf-8", "surrogateescape")

    def exchange_media(self, to: tuple[str, int] | None, lasts_s: float) -> Arrivals:
        """Send silence in PCMU, and hear what comes, for a while; SIP may come later."""
        came = Arrivals()
        sender = Sender(self.source, 1, 0)
        began_s = time.monotonic()
        frame = 0
        while (now_s := time.monotonic() - began_s) < lasts_s:
            if now_s >= frame * _FRAME_S:
                frame += 1
                packet = sender.audio(0, _SILENCE, len(_SILENCE))
                if to is not None:
                    with contextlib.suppress(OSError):
                        self.rtp.sendto(packet, to)
            wait_s = max(0.0, frame * _FRAME_S - now_s)
            for readable in select.select([self.rtp, self.rtcp], [], [], wait_s)[0]:
                self._take(readable, came, time.monotonic() - began_s)
        return came

    def _take(self, readable: socket.socket, came: Arrivals, at_s: float) -> None:
        with contextlib.suppress(OSError):
            data, source = readable.recvfrom(_MOST_BYTES)
            packet = parse(data)
            if packet is not None:
                came.first = came.first or _dump("RTP", data, source)
                came.packets.append(packet)
                came.sources.add(source[:2])
            elif len(data) >= 8 and data[0] >> 6 == 2:
                came.reports += 1
                knows_us = self.source.to_bytes(4, "big") in data[8:]
                came.hears_us |= knows_us
                if data[1] in _REPORTS and not knows_us and at_s > _SETTLED_S:
                    came.deaf = _dump("RTCP", data, source)
                    came.hears_another |= bool(data[0] & _BLOCKS)


def uuid_32() -> int:
    """A number of 32 bits that nobody else has."""
    return secrets.randbits(32)


class Dialog:
    """The requests of one call, and of what goes before it."""

    def __init__(self, wire: Wire, uri: str, account: SipAccount | None) -> None:
        self._wire = wire
        self._uri = uri.partition(";")[0]
        self._account = account
        self._call_id = secrets.token_hex(16)
        self._tag = secrets.token_hex(8)
        self._their_tag = ""
        self._target = self._uri
        self._route = [_by_way_of(account)] if account and account.outbound_proxy else []
        """Of the next request: by way of the account's proxy (RFC 3261 §8.1.2), or of the call."""
        self._cseq = 0
        self._branch = ""
        self.expires_s: int | None = None
        """Of a registration; None: this is a call."""

    def register(self, wait_s: float, expires_s: int) -> SipMessage | None:
        """Register the account at the URI (RFC 3261 §10), or take that back (0); its answer.

        Where that is too brief, for as long as the registrar says (§10.3).
        """
        self.expires_s = expires_s
        answer = self._ask_who("REGISTER", wait_s)
        if answer is not None and answer.status == _TOO_BRIEF and expires_s:
            least = answer.header("min-expires").strip()
            if least.isdecimal() and expires_s < int(least) <= _LONGEST_S:
                self.expires_s = int(least)
                answer = self._ask_who("REGISTER", wait_s)
        return answer

    def options(self, wait_s: float) -> SipMessage | None:
        """Ask what the other side can do (RFC 3261 §11); its final answer."""
        return self._ask("OPTIONS", wait_s)

    def invite(
        self, wait_s: float, on_provisional: Callable[[SipMessage], None]
    ) -> SipMessage | None:
        """Call; the final answer, acknowledged. With a password, a challenge is answered once."""
        answer = self._ask_who("INVITE", wait_s, on_provisional)
        if answer is not None and answer.status // 100 == 2:
            tag = _TAG.search(answer.header("to"))
            self._their_tag = tag[1] if tag else ""
            contact = re.search(r"<([^>]+)>", answer.header("contact"))
            self._target = contact[1] if contact else self._uri
            self._route = _RECORD_ROUTE.findall(answer.text)[::-1]
            self._wire.send(self._request("ACK", self._cseq))
        return answer

    def bye(self, wait_s: float) -> None:
        """End the call; whoever has gone meanwhile has ended it, too."""
        with contextlib.suppress(OSError):
            self._ask("BYE", wait_s)

    def cancel(self, wait_s: float) -> None:
        """Give up a call that nobody answers."""
        with contextlib.suppress(OSError):
            self._wire.send(self._request("CANCEL", self._cseq, branch=self._branch))
            while (message := self._wire.receive(wait_s)) is not None:
                if message.method == "INVITE" and message.status >= 300:
                    self._wire.send(self._request("ACK", self._cseq, branch=self._branch))
                    return

    def _ask_who(
        self,
        method: str,
        wait_s: float,
        on_provisional: Callable[[SipMessage], None] = lambda _message: None,
    ) -> SipMessage | None:
        answer = self._ask(method, wait_s, on_provisional=on_provisional)
        has_password = self._account is not None and self._account.password
        if answer is not None and answer.status in _CHALLENGES and has_password:
            digest = self._digest(answer, method)
            answer = self._ask(method, wait_s, digest, on_provisional=on_provisional)
        return answer

    def _ask(
        self,
        method: str,
        wait_s: float,
        digest: str = "",
        on_provisional: Callable[[SipMessage], None] = lambda _message: None,
    ) -> SipMessage | None:
        self._cseq += 1
        self._branch = secrets.token_hex(8)
        request = self._request(method, self._cseq, digest, branch=self._branch)
        self._wire.send(request)
        deadline, again_s = time.monotonic() + wait_s, _T1_S
        repeats = self._wire.over == "udp"
        while (left_s := deadline - time.monotonic()) > 0:
            message = self._wire.receive(min(left_s, again_s if repeats else left_s))
            if message is None and repeats:
                self._wire.send(request)
                again_s = min(2 * again_s, _T2_S)
            elif message is None or message.method != method or not message.status:
                continue
            elif message.status < 200:
                repeats = False
                on_provisional(message)
            else:
                if method == "INVITE" and message.status >= 300:
                    self._wire.send(self._request("ACK", self._cseq, branch=self._branch))
                return message
        return None

    def _request(self, method: str, cseq: int, digest: str = "", branch: str = "") -> str:
        wire, account = self._wire, self._account
        here = joined(*wire.here)
        name = account.from_user if account else "callerside"
        home = (account.home if account else "") or here
        shown = f'"{account.display_name}" ' if account and account.display_name else ""
        to = self._uri
        if account and self.expires_s is not None:  # as whom, and no more of what calls show
            name, shown = account.user, ""
            to = f"sip:{name}@{home}"
        over = suffix_of(wire.over)
        branch = branch or secrets.token_hex(8)
        body = self._offer() if method == "INVITE" else ""
        tag = f";tag={self._their_tag}" if self._their_tag and method != "CANCEL" else ""
        lines = [
            f"{method} {self._uri if method == 'CANCEL' else self._target} SIP/2.0",
            f"Via: SIP/2.0/{wire.over.upper()} {here};rport;branch=z9hG4bK{branch}",
            "Max-Forwards: 70",
            *(f"Route: {one}" for one in self._route),
            f"From: {shown}<sip:{name}@{home}>;tag={self._tag}",
            f"To: <{to}>{tag}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{name}@{here}{over}>",
            "User-Agent: callerside-doctor",
            *([digest] if digest else []),
            *(f"{name}: {value}" for name, value in self._headers(method)),
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", body])

    def _headers(self, method: str) -> Iterable[tuple[str, str]]:
        if method == "REGISTER":
            return (("Expires", str(self.expires_s)),)
        return self._account.headers if self._account and method == "INVITE" else ()

    def _offer(self) -> str:
        host, port = self._wire.here[0], self._wire.rtp.getsockname()[1]
        place = f"IN {self._wire.family} {host}"
        return (
            f"v=0\r\no=- 1 1 {place}\r\ns=-\r\nc={place}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 8 9 101\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        )

    def _digest(self, challenge: SipMessage, method: str) -> str:
        """The header that answers a challenge (RFC 2617), or nothing if it is for no realm of ours.

        MD5 is what SIP's registrars ask for (RFC 3261 §22.4).
        """
        account = self._account
        assert account is not None  # noqa: S101 - asked by `invite`
        is_proxy = challenge.status == _CHALLENGES[1]
        asked = challenge.header("proxy-authenticate" if is_proxy else "www-authenticate")
        given = {name: quoted or plain for name, quoted, plain in _PARAMETER.findall(asked)}
        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        if account.realm not in ("*", realm):
            return ""
        user = account.auth_user or account.user
        who = _md5(f"{user}:{realm}:{account.password}")
        what = _md5(f"{method}:{self._uri}")
        fields = f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{self._uri}"'
        if "auth" in given.get("qop", "").split(","):
            count, own = "00000001", secrets.token_hex(8)
            response = _md5(f"{who}:{nonce}:{count}:{own}:auth:{what}")
            fields += f', qop=auth, nc={count}, cnonce="{own}"'
        else:
            response = _md5(f"{who}:{nonce}:{what}")
        fields += f', response="{response}", algorithm=MD5'
        if "opaque" in given:
            fields += f', opaque="{given["opaque"]}"'
        return f"{'Proxy-' if is_proxy else ''}Authorization: Digest {fields}"


def _by_way_of(account: SipAccount) -> str:
    return f"<sip:{account.outbound_proxy}{suffix_of(account.transport)};lr>"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _rtp_pair(here: str) -> tuple[socket.socket, socket.socket]:
    """An even port and the odd one above it (RFC 3550 §11)."""
    for _ in range(100):
        rtp = socket.socket(family_of(here), socket.SOCK_DGRAM)
        rtcp = socket.socket(family_of(here), socket.SOCK_DGRAM)
        try:
            rtp.bind((here, 10_000 + 2 * secrets.randbelow(10_000)))
            rtcp.bind((here, rtp.getsockname()[1] + 1))
        except OSError:
            rtp.close()
            rtcp.close()
        else:
            return rtp, rtcp
    raise OSError(f"no pair of UDP ports is free on {here}")


def _dump(kind: str, data: bytes, source: tuple[str, int]) -> str:
    """A packet as it came: from where, how long, and how it begins."""
    more = " ..." if len(data) > _SHOWN_BYTES else ""
    begins = data[:_SHOWN_BYTES].hex(" ")
    return f"<- {kind} from {joined(*source[:2])}, {len(data)} bytes: {begins}{more}"


def _shown(message: str) -> str:
    return message.lstrip("\r\n").partition("\r\n")[0]
