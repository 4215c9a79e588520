"""Somebody who is called, and whose responses are as a row says: right but for one thing, or many.

Each number that is called is a row's. What follows a response that is wrong is right again, so that
a call ends whatever became of it.
"""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

At = Literal["INVITE", "re-INVITE", "BYE", "INFO"]
RIGHT_S = 0.04
"""Behind the wrong response comes the right one."""
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\n"
)
CHALLENGE = 'Digest realm="odd", nonce="n", algorithm=MD5'
MORE = {
    "401": f"WWW-Authenticate: {CHALLENGE}",
    "407": f"Proxy-Authenticate: {CHALLENGE}",
    "422": "Min-SE: 1800",
    "423": "Min-Expires: 600",
}
"""What responses of a status have besides."""
RIGHT = {"INVITE": "486 Busy Here", "re-INVITE": "488 Not Acceptable Here"}
_NUMBER = re.compile(r"^\S+ sips?:(\d+)@")
_KEPT = re.compile(r"^((?:Via|From|To|Call-ID|CSeq):.*?)\r?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One response that is not right."""

    name: str
    at: At
    status: str
    change: Callable[[bytes], bytes]


class OddPeer:
    """Answers on a thread of its own, from when it is made until it is closed."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._row_of: dict[str, Row] = {}
        """By Call-ID."""
        self._answered: set[tuple[str, str]] = set()
        """Call-ID and CSeq of what has got its wrong response: what is sent again gets another."""
        self._invites: dict[str, tuple[str, tuple[str, int]]] = {}
        self._later: list[tuple[float, int, bytes, tuple[str, int]]] = []
        self._count = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say nothing any more."""
        self._is_closed = True
        self._thread.join()
        self._socket.close()

    def uri(self, number: int) -> str:
        """Whom to call for the n-th row."""
        return f"sip:{number}@127.0.0.1:{self.port}"

    def _run(self) -> None:
        while not self._is_closed:
            now_s = time.monotonic()
            while self._later and self._later[0][0] <= now_s:
                *_, wire, target = heappop(self._later)
                self._send(wire, target)
            due_s = self._later[0][0] - now_s if self._later else 0.05
            self._socket.settimeout(min(0.05, max(0.001, due_s)))
            with contextlib.suppress(TimeoutError):
                wire, source = self._socket.recvfrom(65_536)
                self._take(wire.decode(errors="surrogateescape"), source)

    def _take(self, request: str, source: tuple[str, int]) -> None:
        method = request.partition(" ")[0]
        call_id, cseq = (_header(request, name) for name in ("Call-ID", "CSeq"))
        found = _NUMBER.match(request)
        if method == "INVITE" and found and call_id not in self._row_of:
            self._row_of[call_id] = self._rows[int(found[1])]
        row = self._row_of.get(call_id)
        if row is None or method in ("ACK", "SIP/2.0"):
            return
        at = "re-INVITE" if method == "INVITE" and ";tag=" in _header(request, "To") else method
        if method == "INVITE":
            self._invites[call_id] = request, source
        if method == "CANCEL" and call_id in self._invites:
            invite, target = self._invites[call_id]
            self._send(response(invite, "487 Request Terminated", self.port), target)
        if at == row.at and (call_id, cseq) not in self._answered:
            self._answered.add((call_id, cseq))
            self._send(row.change(response(request, row.status, self.port)), source)
            right = RIGHT.get(at, "200 OK")
            if at == "INVITE":
                due_s = time.monotonic() + RIGHT_S
                self._count += 1
                answer = response(request, right, self.port)
                heappush(self._later, (due_s, self._count, answer, source))
            return
        right = RIGHT.get(at, "200 OK") if at == row.at else "200 OK"
        self._send(response(request, right, self.port), source)

    def _send(self, wire: bytes, target: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # nobody is there any more
            self._socket.sendto(wire[:65_000], target)


def response(request: str, status: str, port: int) -> bytes:
    """A right one, by somebody at this port; with a description where it can have one."""
    kept = [
        f"{line};tag=odd" if line.startswith("To:") and ";tag=" not in line else line
        for line in _KEPT.findall(request)
    ]
    body = SDP if request.startswith("INVITE") and status[:3] in ("183", "200") else ""
    kind = ["Content-Type: application/sdp"] if body else []
    lines = [
        f"SIP/2.0 {status}",
        *kept,
        f"Contact: <sip:odd@127.0.0.1:{port}>",
        *([MORE[status[:3]]] if status[:3] in MORE else []),
        *kind,
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode(errors="surrogateescape")


def _header(message: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*?)\r?$", message, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""


VALUES = (
    *(
        "",
        "<>",
        "<sip:>",
        "garbage",
        "sip:",
        "<",
        '"',
        "<sip:a@127.0.0.1",
        "<sip:a@127.0.0.1:99999>",
    ),
    *(
        "<tel:1>",
        "<http://127.0.0.1/>",
        "<sip:@>",
        ";lr",
        "<sip:[::1]>",
        "*",
        "a" * 3_000,
        "\udcff",
    ),
    *("<sip:127.0.0.1:9>;tag=a;tag=b", "<sip:odd@127.0.0.1>, <", "-1", "99999999999", "\0"),
)
HEADERS = ("Contact", "To", "From", "Via", "Record-Route", "CSeq", "Call-ID", "Content-Type")


def revalued(name: str, value: str) -> Callable[[bytes], bytes]:
    """Another value of a header; one that was not there is."""

    def change(wire: bytes) -> bytes:
        text = wire.decode(errors="surrogateescape")
        line = f"{name}: {value}"
        pattern = rf"(?m)^{name}:[^\r\n]*"
        if re.search(pattern, text):
            text = re.sub(pattern, lambda _: line, text, count=1)
        else:
            text = text.replace("\r\nContact:", f"\r\n{line}\r\nContact:", 1)
        return text.encode(errors="surrogateescape")

    return change


def without(name: str) -> Callable[[bytes], bytes]:
    """A header that is not there."""

    def change(wire: bytes) -> bytes:
        return re.sub(rf"(?m)^{name}:[^\r\n]*\r\n".encode(), b"", wire)

    return change


def untagged(wire: bytes) -> bytes:
    """Without a tag in To."""
    return wire.replace(b";tag=odd", b"", 1)


def rows() -> list[Row]:
    """One thing wrong in each."""
    places: tuple[tuple[At, tuple[str, ...]], ...] = (
        ("INVITE", ("180 Ringing", "183 Session Progress", "200 OK", "302 Moved Temporarily")),
        ("INVITE", ("401 Unauthorized", "407 Proxy Authentication Required", "486 Busy Here")),
        ("INVITE", ("422 Session Interval Too Small",)),
        ("re-INVITE", ("180 Ringing", "200 OK", "401 Unauthorized", "491 Request Pending")),
        ("BYE", ("200 OK", "401 Unauthorized")),
        ("INFO", ("200 OK", "302 Moved Temporarily")),
    )
    made = []
    for at, statuses in places:
        for status in statuses:
            named = [(f"without {name}", without(name)) for name in HEADERS]
            named += [("To without tag", untagged)]
            named += [
                (f"{name}: {value[:20]!r}", revalued(name, value))
                for name in (
                    *HEADERS,
                    *(MORE[status[:3]].partition(":")[:1] if status[:3] in MORE else ()),
                )
                for value in VALUES
            ]
            made += [
                Row(name=f"{at} {status} {name}", at=at, status=status, change=change)
                for name, change in named
            ]
    return made
