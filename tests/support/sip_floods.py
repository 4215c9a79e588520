"""Floods of all that can be sent to a SIP port, from as many addresses as there are, and what a
call that is up hears meanwhile.

CALLERSIDE_FLOOD_S says how long each lasts, CALLERSIDE_FLOOD_PER_S how many packets a second it
has. All of it stays within 127.0.0.0/8.
"""

import contextlib
import itertools
import os
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from raw_sip import Response

from callerside.agent.telephony.media.packet_reader import PacketReader

FLOOD_S = float(os.environ.get("CALLERSIDE_FLOOD_S", "0.5"))
PER_S = int(os.environ.get("CALLERSIDE_FLOOD_PER_S", "400"))
IS_FULL = FLOOD_S > 1
FRIEND = "127.0.0.1"
ONE = ("127.0.0.9",)
MANY = tuple(f"127.0.1.{number}" for number in range(1, 251))
SPOOFED = (FRIEND,)
"""Whoever forges the address of who may call: what that one is answered is nothing to him."""
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 9 RTP/AVP 0\r\n"
)


def request(method: str, host: str, port: int, over: str, body: str = "") -> bytes:
    """One of a call of its own."""
    name = uuid.uuid4().hex
    lines = (
        f"{method} sip:100@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/{over} {host}:{port};branch=z9hG4bK{name}",
        "Max-Forwards: 70",
        f"From: <sip:flood@{host}>;tag=f",
        "To: <sip:100@127.0.0.1>",
        f"Call-ID: {name}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:flood@{host}:{port}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join([*lines, "", body]).encode()


KINDS: Mapping[str, Callable[[str, int, str], list[bytes]]] = {
    "INVITE": lambda host, port, over: [request("INVITE", host, port, over, SDP)],
    "INVITE and CANCEL": lambda host, port, over: [
        one := request("INVITE", host, port, over, SDP),
        one.partition(b"Content-Type")[0].replace(b"INVITE", b"CANCEL")
        + b"Content-Length: 0\r\n\r\n",
    ],
    "OPTIONS": lambda host, port, over: [request("OPTIONS", host, port, over)],
    "REGISTER": lambda host, port, over: [request("REGISTER", host, port, over)],
    "ACK": lambda host, port, over: [request("ACK", host, port, over)],
    "garbage": lambda _host, _port, _over: [random.randbytes(random.randrange(1, 1_400))],
    "fragments": lambda host, port, over: [
        request("INVITE", host, port, over, SDP)[: random.randrange(400)]
    ],
    "responses": lambda host, port, over: [
        request("INVITE", host, port, over).replace(
            b"INVITE sip:100@127.0.0.1 SIP/2.0", b"SIP/2.0 200 OK"
        )
    ],
}
"""What is sent, by an address and port over "UDP" or "TCP"."""


class UdpFlood:
    """One kind of message from some addresses in turn; `answers` counts final ones by status."""

    def __init__(self, port: int, kind: str, sources: Sequence[str]) -> None:
        self.answers: Counter[int] = Counter()
        self.over_limit = 0
        """Of them, what a proxy refused as over its limit; others mean that no line is free."""
        self.without_retry_after = 0
        self.sent = 0
        self._target = ("127.0.0.1", port)
        self._kind = KINDS[kind]
        self._sources = sources
        self._thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self) -> "UdpFlood":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def run(self) -> None:
        """Send, and read what is answered now and then."""
        with contextlib.ExitStack() as stack:
            sockets = []
            for host in self._sources:
                one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                one.bind((host, 0))
                one.setblocking(False)
                sockets.append((one, host, one.getsockname()[1]))
            began = time.monotonic()
            for number, (one, host, own) in enumerate(itertools.cycle(sockets)):
                if number > FLOOD_S * PER_S:
                    break
                self._read(one)
                for packet in self._kind(host, own, "UDP"):
                    with contextlib.suppress(BlockingIOError):
                        one.sendto(packet, self._target)
                        self.sent += 1
                time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
            for one, _, _ in sockets:
                self._read(one)

    def _read(self, one: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                text = one.recv(65536).decode(errors="replace")
                response = Response(text)
                if response.status >= 200:
                    self.answers[response.status] += 1
                    self.over_limit += text.startswith("SIP/2.0 503 Service Unavailable\r\n")
                    again = response.header("Retry-After")
                    self.without_retry_after += response.status == 503 and not again


class Listener(threading.Thread):
    """Notes each packet of a call as the kernel has it: its number, and when it came.

    For each, `say` sends one of ours: of whoever is silent the agent gives a call up.
    """

    def __init__(self, rtp: socket.socket, say: Callable[[], None] = lambda: None) -> None:
        super().__init__(daemon=True)
        self._say = say
        self.numbers: list[int] = []
        self._at_ns: list[int] = []
        self._reader = PacketReader(rtp, self._note)
        self._rtp = rtp
        self.start()

    def run(self) -> None:
        """Until the socket is closed."""
        with contextlib.suppress(OSError, ValueError):
            while self._rtp.fileno() >= 0:
                self._rtp.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    self._rtp.recv(1, socket.MSG_PEEK)
                    self._reader.read_all()

    def _note(self, data: bytes, _source: object, at_ns: int) -> None:
        self.numbers.append(int.from_bytes(data[2:4], "big"))
        self._at_ns.append(at_ns)
        self._say()

    @property
    def steps(self) -> set[int]:
        """From each number to the next: 1, if no packet is missing."""
        return {(b - a) % 2**16 for a, b in itertools.pairwise(self.numbers)}

    @contextlib.contextmanager
    def longest_gap_ms(self) -> Iterator[list[float]]:
        """Between two packets that come within; told when it is over."""
        gap: list[float] = []
        first = max(0, len(self._at_ns) - 1)
        yield gap
        times = self._at_ns[first:]
        gap.append(max((b - a for a, b in itertools.pairwise(times)), default=0) / 1e6)


@contextlib.contextmanager
def sink() -> Iterator[int]:
    """A port at which nobody reads what comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]
