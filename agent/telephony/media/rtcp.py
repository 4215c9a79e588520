"""RTCP reports (RFC 3550 §6): what came and what was sent, told to the other side. No I/O."""

import random
import struct
from dataclasses import dataclass

from callerside.clock import NS_PER_S

_INTERVAL_S = 5.0
"""RFC 3550 §6.2: at least; the first after half of it. Each is drawn from half to one and a half of
that, so that not all calls report at once (§6.3.1)."""
_NTP_EPOCH_S = 2_208_988_800
"""1970, as NTP counts."""
_SHORT_SECOND = 1 << 16
"""Of the middle 32 bits of an NTP time."""
_VERSION = 2
_VERSION_BITS = _VERSION << 6
_COUNT = 0x1F
_SENDER_REPORT, _RECEIVER_REPORT, _DESCRIPTION = 200, 201, 202
_CNAME = 1
_HEADER = struct.Struct("!BBH")
_SENDER = struct.Struct("!IIIII")
_BLOCK = struct.Struct("!IIIIII")
_MOST_LOST, _LEAST_LOST = (1 << 23) - 1, -(1 << 23)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent so far."""

    packets: int
    octets: int
    """Of payload."""
    timestamp: int
    """Of what is said now."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came so far of the stream that is heard."""

    source: int
    highest: int
    """Number of the newest packet, counted on beyond 16 bits."""
    expected: int
    lost: int
    jitter: int
    """In the units of its clock (§A.8)."""


class Reporter:
    """One side of one call.

    Args:
        source: of the stream that is sent.
    """

    def __init__(self, source: int) -> None:
        self._source = source
        self._name = f"{random.getrandbits(96):024x}"  # RFC 7022 §4.2
        self._has_reported = False
        self._sent_packets = 0
        self._before: Received | None = None
        self._heard: tuple[int, int, int] | None = None
        """The last sender report: whose, the middle of its time, and when it came."""

    def wait_s(self) -> float:
        """Until the next report."""
        base_s = _INTERVAL_S if self._has_reported else _INTERVAL_S / 2
        return base_s * random.uniform(0.5, 1.5)

    def take(self, data: bytes, at_ns: int) -> None:
        """What came from the other side, and when, on the monotonic clock.

        Of what is none of RTCP, and of all but sender reports, nothing is kept.
        """
        while len(data) >= _HEADER.size:
            first, kind, words = _HEADER.unpack_from(data)
            size = 4 * (words + 1)
            if first >> 6 != _VERSION or size > len(data):
                return
            if kind == _SENDER_REPORT and size >= _HEADER.size + 4 + _SENDER.size:
                source, high, low = struct.unpack_from("!III", data, _HEADER.size)
                self._heard = source, _middle(high, low), at_ns
            data = data[size:]

    def report(self, sent: Sent, received: Received | None, *, now_ns: int, wall_ns: int) -> bytes:
        """All that is told now, in one packet.

        Args:
            sent: so far.
            received: likewise; None: nothing came.
            now_ns: on the monotonic clock.
            wall_ns: since 1970.
        """
        self._has_reported = True
        blocks = b"" if received is None else self._block(received, now_ns)
        has_sent, self._sent_packets = sent.packets != self._sent_packets, sent.packets
        about = b""
        if has_sent:
            seconds, rest_ns = divmod(wall_ns, NS_PER_S)
            about = _SENDER.pack(
                (seconds + _NTP_EPOCH_S) & 0xFFFFFFFF,
                (rest_ns << 32) // NS_PER_S,
                sent.timestamp,
                sent.packets & 0xFFFFFFFF,
                sent.octets & 0xFFFFFFFF,
            )
        kind = _SENDER_REPORT if has_sent else _RECEIVER_REPORT
        return self._packet(kind, bool(blocks), about + blocks) + self._description()

    def _block(self, received: Received, now_ns: int) -> bytes:
        before = self._before
        if before is None or before.source != received.source:
            before = Received(received.source, received.highest, 0, 0, 0)
        expected, lost = received.expected - before.expected, received.lost - before.lost
        fraction = min(255, (lost << 8) // expected) if lost > 0 and expected > 0 else 0
        self._before = received
        last = since = 0
        if self._heard is not None and self._heard[0] == received.source:
            _, last, at_ns = self._heard
            since = (now_ns - at_ns) * _SHORT_SECOND // NS_PER_S
        return _BLOCK.pack(
            received.source,
            fraction << 24 | max(_LEAST_LOST, min(_MOST_LOST, received.lost)) & 0xFFFFFF,
            received.highest & 0xFFFFFFFF,
            received.jitter & 0xFFFFFFFF,
            last,
            max(0, since) & 0xFFFFFFFF,
        )

    def _packet(self, kind: int, count: int, body: bytes) -> bytes:
        words = 1 + len(body) // 4
        header = _HEADER.pack(_VERSION_BITS | count & _COUNT, kind, words)
        return header + self._source.to_bytes(4, "big") + body

    def _description(self) -> bytes:
        item = bytes([_CNAME, len(self._name)]) + self._name.encode()
        return self._packet(_DESCRIPTION, 1, item + bytes(4 - len(item) % 4))


def _middle(high: int, low: int) -> int:
    """Of an NTP time: the middle 32 of its 64 bits."""
    return (high << 16 | low >> 16) & 0xFFFFFFFF
