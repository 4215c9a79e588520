"""Puts a call's packets back into order, and says what was lost and where nobody spoke.

Audio goes from here to listeners who count samples and need no rhythm (the Realtime API, a voice
detector), so a packet is handed on the moment it comes: on a calm line nothing ever waits. Only
behind a packet that is missing do the next ones wait for it, for as long as this line has lately
made its stragglers late; then it is lost, and its time is filled. Time is told by the packets'
timestamps (RFC 3550 §5.1), so that what is handed on is as long as what was said: nothing is made
up for packets that merely come late, and after a stall all that it held back is there at once.

Where nothing comes for long (silence suppression, a dead line) the silence is told while it lasts.
Packets that turn out to have been on their way all the time are handed on behind it: a word that
comes late is of more use than none, and a sender whose timestamps stood still while it was silent
has nothing else to say.

No I/O: packets and the time go in, packets and gaps come out. Any engine can stand before it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from callerside.clock import NS_PER_MS, NS_PER_S

MAX_WAIT_NS = 80 * NS_PER_MS
"""For a packet that is missing: what comes later than that is of less use than an answer."""
MIN_WAIT_NS = 20 * NS_PER_MS
"""A packet's length: what changes places with the next is so late."""
_FIRST_LATENESS_NS = 20 * NS_PER_MS
"""Of a line that nothing is known of: its first straggler is waited for, too."""
_FORGOTTEN_PART = 8
"""By which part the lateness to expect shrinks with each packet that never came."""

PAUSE_NS = 300 * NS_PER_MS
"""Without a packet: longer than most stalls of a network, whose packets all come in the end."""
FRAME_NS = 20 * NS_PER_MS
"""In a pause silence is told in pieces of this length: two at a time until as much has been told as
has passed. All at once, it would be told for nothing where a stall is a little longer."""

MAX_HELD = 50
"""Packets: a second of them."""
_MAX_STEP = 500
"""Sequence numbers apart: more is another stream."""
_SLACK_NS = 500 * NS_PER_MS
"""By so much timestamps may run ahead of the clock: packets before may have come late."""
_MAX_GIVEN_UP = 64
_JITTER_PART = 16
"""RFC 3550 §6.4.1: of a difference that is new, so much is believed."""

_SEQUENCES, _TIMESTAMPS = 0xFFFF, 0xFFFFFFFF
_NEVER_NS = 1 << 62

Body = TypeVar("Body")


class Packet(NamedTuple, Generic[Body]):
    """One packet, as far as it matters here.

    `sequence` and `timestamp` count modulo 2^16 and 2^32. `duration` is in the timestamp's units;
    0: none of the audio (a key press, comfort noise), which has a place in the order alone.
    """

    source: int
    """Whose stream (SSRC): another one begins anew."""
    sequence: int
    timestamp: int
    duration: int
    body: Body


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """Time without audio. `lost`: packets are missing; else nothing was sent."""

    duration: int
    """In the timestamp's units."""
    lost: bool


Released = list[Packet[Body] | Gap]


class JitterBuffer(Generic[Body]):
    """One direction of one call.

    Args:
        clock_hz: of the timestamps.
        now_ns: when media came up.
    """

    def __init__(self, clock_hz: int, now_ns: int) -> None:
        self.late_packets = 0
        """Those that came when they had been given up already."""
        self.jitter_ms = 0.0
        """How unevenly packets of audio come (RFC 3550 §6.4.1)."""
        self._transit = 0
        """Of the last of them, from its timestamp to its arrival, in the timestamp's units."""
        self._clock_hz = clock_hz
        self._frame = clock_hz * FRAME_NS // NS_PER_S
        self._held: dict[int, tuple[Packet[Body], int]] = {}
        """By sequence number, with the time of arrival."""
        self._given_up: OrderedDict[int, int] = OrderedDict()
        """What was lost as it seemed, and since when it was missing."""
        self._source: int | None = None
        self._next_sequence = 0
        self._next_timestamp: int | None = None
        """Where the time handed on so far ends."""
        self._is_missing = False
        """Whether packets were lost since the last audio."""
        self._lateness_ns = _FIRST_LATENESS_NS
        self._heard_ns = now_ns
        """When audio came last."""
        self._pause_ns = now_ns + PAUSE_NS
        """When the next piece of silence is due, if no audio comes before it."""
        self._told_ns = 0
        """How much silence has been told since then."""

    @property
    def due_ns(self) -> int:
        """When `expire` has something to do, unless a packet comes before."""
        if not self._held:
            return self._pause_ns
        return min(self._pause_ns, self._missing_since_ns + self.wait_ns)

    @property
    def wait_ns(self) -> int:
        """For how long a missing packet is waited for; a calm line never comes to it."""
        return min(MAX_WAIT_NS, max(MIN_WAIT_NS, 2 * self._lateness_ns))

    @property
    def _missing_since_ns(self) -> int:
        """When the first packet came that waits; far away, if none does."""
        return min((at_ns for _, at_ns in self._held.values()), default=_NEVER_NS)

    def put(self, packet: Packet[Body], now_ns: int) -> Released[Body]:
        """A packet came; returns what can be handed on, in order.

        On a calm line that is always the packet, and nothing needs to be sorted.
        """
        if packet.duration:  # RFC 3550 §A.8, unless numbers begin anew
            transit = now_ns * self._clock_hz // NS_PER_S - packet.timestamp
            step = (packet.sequence - self._next_sequence + _MAX_STEP) & _SEQUENCES
            if packet.source == self._source and step <= 2 * _MAX_STEP:
                change = (transit - self._transit) & _TIMESTAMPS
                change_ms = min(change, _TIMESTAMPS + 1 - change) * 1000 / self._clock_hz
                self.jitter_ms += (change_ms - self.jitter_ms) / _JITTER_PART
            self._transit = transit
        expected = (self._source, self._next_sequence, self._next_timestamp)
        if self._held or not packet.duration or packet[:3] != expected:  # see `expects`
            return self._sort_in(packet, now_ns)
        self._next_sequence = (packet.sequence + 1) & _SEQUENCES
        self._next_timestamp = (packet.timestamp + packet.duration) & _TIMESTAMPS
        self._is_missing = False
        self._heard_ns, self._pause_ns, self._told_ns = now_ns, now_ns + PAUSE_NS, 0
        return [packet]

    def expects(self, packet: Packet[Body]) -> bool:
        """Whether a packet would be handed on as it is, at once, with nothing before it."""
        expected = (self._source, self._next_sequence, self._next_timestamp)
        return not self._held and bool(packet.duration) and packet[:3] == expected

    def pass_over(self, packets: int, duration: int, now_ns: int) -> None:
        """So many packets have come and gone, each as it was expected, the last of them now."""
        self._next_sequence = (self._next_sequence + packets) & _SEQUENCES
        if self._next_timestamp is not None:
            self._next_timestamp = (self._next_timestamp + packets * duration) & _TIMESTAMPS
        self._heard_ns, self._pause_ns, self._told_ns = now_ns, now_ns + PAUSE_NS, 0

    def expire(self, now_ns: int) -> Released[Body]:
        """Time has passed; returns what is handed on because of it."""
        released = self._release(now_ns)
        while now_ns >= self._pause_ns:
            owed_ns = self._pause_ns - self._heard_ns - self._told_ns
            pieces = 2 if owed_ns >= 2 * FRAME_NS else 1
            released += [Gap(duration=self._frame, lost=False)] * pieces
            self._told_ns += pieces * FRAME_NS
            self._pause_ns += FRAME_NS
            if self._next_timestamp is not None:
                told = pieces * self._frame
                self._next_timestamp = (self._next_timestamp + told) & _TIMESTAMPS
        return released

    def renewed(self, now_ns: int) -> "JitterBuffer[Body]":
        """Another one, for what has nothing to do with what came before but to be one call's."""
        other: JitterBuffer[Body] = JitterBuffer(self._clock_hz, now_ns)
        other.jitter_ms = self.jitter_ms
        return other

    def fall_silent(self, now_ns: int) -> None:
        """Nothing is sent from now on, as is known: its silence is told at once."""
        self._heard_ns, self._told_ns = now_ns, 0
        self._pause_ns = now_ns + FRAME_NS

    def _sort_in(self, packet: Packet[Body], now_ns: int) -> Released[Body]:
        """One that may be another than the next."""
        flushed: Released[Body] = []
        ahead = _signed(packet.sequence - self._next_sequence, 16)
        if packet.source != self._source or abs(ahead) > _MAX_STEP:
            flushed = self._begin_anew(packet)
        elif ahead < 0:
            self._note_late(packet.sequence, now_ns)
            return flushed
        elif ahead == 0 and self._held:
            self._learn(now_ns - self._missing_since_ns)
        self._held.setdefault(packet.sequence, (packet, now_ns))
        released = self._release(now_ns)
        if packet.duration:
            self._heard_ns = now_ns
            self._pause_ns = now_ns + PAUSE_NS
            self._told_ns = 0
        return flushed + released

    def _begin_anew(self, packet: Packet[Body]) -> Released[Body]:
        """Another stream; what waits of the old one has nothing more to wait for."""
        ordered = sorted(self._held, key=lambda n: _signed(n - self._next_sequence, 16))
        flushed: Released[Body] = [self._held[number][0] for number in ordered]
        self._held.clear()
        self._given_up.clear()
        self._source, self._next_sequence = packet.source, packet.sequence
        self._next_timestamp = None
        self._is_missing = False
        return flushed

    def _release(self, now_ns: int) -> Released[Body]:
        released: Released[Body] = []
        while self._held:
            found = self._held.pop(self._next_sequence, None)
            if found is not None:
                released += self._in_its_time(found[0], now_ns)
                self._next_sequence = (self._next_sequence + 1) & _SEQUENCES
            elif now_ns - self._missing_since_ns >= self.wait_ns or len(self._held) >= MAX_HELD:
                self._give_up()
            else:
                break
        return released

    def _give_up(self) -> None:
        """What is missing before the next packet there is, is lost."""
        since_ns = self._missing_since_ns
        while self._next_sequence not in self._held:
            self._given_up[self._next_sequence] = since_ns
            self._next_sequence = (self._next_sequence + 1) & _SEQUENCES
        while len(self._given_up) > _MAX_GIVEN_UP:
            self._given_up.popitem(last=False)
        self._lateness_ns -= self._lateness_ns // _FORGOTTEN_PART
        self._is_missing = True

    def _note_late(self, sequence: int, now_ns: int) -> None:
        """One came that is not waited for any more: lost as it seemed, or a second copy."""
        since_ns = self._given_up.pop(sequence, None)
        if since_ns is not None:
            self.late_packets += 1
            self._learn(now_ns - since_ns)

    def _learn(self, lateness_ns: int) -> None:
        """A straggler came so long after the packet behind it."""
        self._lateness_ns = max(self._lateness_ns, min(MAX_WAIT_NS, lateness_ns))

    def _in_its_time(self, packet: Packet[Body], now_ns: int) -> Released[Body]:
        """A packet, behind what is missing of the time before it."""
        if not packet.duration:
            return [packet]
        gap = self._gap_before(packet, now_ns)
        is_lost, self._is_missing = self._is_missing, False
        self._next_timestamp = (packet.timestamp + packet.duration) & _TIMESTAMPS
        return [Gap(duration=gap, lost=is_lost), packet] if gap else [packet]

    def _gap_before(self, packet: Packet[Body], now_ns: int) -> int:
        """The time between what was handed on and a packet; none, where silence was told for it."""
        if self._next_timestamp is None:
            return 0
        gap = _signed(packet.timestamp - self._next_timestamp, 32)
        passed = (now_ns - self._heard_ns + _SLACK_NS) * self._clock_hz // NS_PER_S
        return gap if 0 <= gap <= passed else 0  # else it is late, or its timestamps begin anew


def _signed(difference: int, bits: int) -> int:
    """A difference of two numbers that count modulo 2^bits."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
