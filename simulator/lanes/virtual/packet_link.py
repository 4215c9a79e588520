"""One direction of a call's audio in memory: packets that take time, and what is heard of them.

A packet is one frame of 20 ms. What the network does to it (delay, loss, reordering, doubling) is
decided by a `Network`, which is handed in. What comes is handed on as it comes, by the jitter
buffer that the sip lane has, too (`telephony.media.jitter_buffer`).
"""

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from callerside.agent.telephony.media.arrivals import Arrivals
from callerside.agent.telephony.media.jitter_buffer import Gap, JitterBuffer, Packet
from callerside.simulator.lanes.virtual.clock import NEVER_NS

Network = Callable[[int], tuple[int, ...]]
"""When a packet that is sent at this nanosecond arrives: never (lost), once, or twice (doubled).

A good network may be given as a number: the nanoseconds that every packet takes.
"""

_JITTER_GAIN = 16
"""RFC 3550 §6.4.1: J(i) = J(i-1) + (|D(i-1,i)| - J(i-1)) / 16."""
_SEQUENCES, _TIMESTAMPS = 0xFFFF, 0xFFFFFFFF
_SOURCE = 1

Body = tuple[bytes, int]
"""A frame, and when it came."""


class Heard(NamedTuple):
    """A frame, or what stands for one that did not come."""

    pcm: bytes
    came_ns: int | None


class MediaLink:
    """Frames in at one end, as they are sent; frames out at the other, as they come.

    Args:
        network: what becomes of each packet.
        frame_samples: of a frame.
        rate_hz: of the samples.
        interval_ns: time between two frames as the sender's clock counts them, for the jitter.
    """

    def __init__(
        self, network: Network | int, frame_samples: int, rate_hz: int, interval_ns: int
    ) -> None:
        self.sequence = 0
        """Of what is due next, see `Metronome.sequence`."""
        self.due_ns = NEVER_NS
        """When `receive` has something to tell, unless more is sent before: asked for far more
        often than it changes."""
        self.received_packets = 0
        self._network = network
        self._frame_samples = frame_samples
        self._silence = bytes(2 * frame_samples)
        self._rate_hz = rate_hz
        self._interval_ns = interval_ns
        self._flying: list[tuple[int, int, bytes]] = []  # heap of (arrival, sequence, frame)
        self._next_to_send = 0
        self._arrivals = Arrivals(first=0)
        self._buffer: JitterBuffer[Body] | None = None
        """While the end that hears has media."""
        self._held = False
        self._last_transit_ns: int | None = None
        self._jitter_ns = 0.0

    @property
    def lost_packets(self) -> int:
        """Those up to the newest that have not come; a doubled one makes up for none."""
        return self._arrivals.lost

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter, RFC 3550 §6.4.1."""
        return self._jitter_ns / 1_000_000

    def open(self, now_ns: int) -> None:
        """Hear what comes, and what has come already."""
        self._buffer, self._held = JitterBuffer(self._rate_hz, now_ns), False
        self._note_due()

    def hold(self, now_ns: int) -> None:
        """Hear silence from now on, whatever comes."""
        self._buffer, self._held = JitterBuffer(self._rate_hz, now_ns), True
        self._buffer.fall_silent(now_ns)
        self._note_due()

    def close(self) -> None:
        """Hear nothing more."""
        self._buffer = None
        self._note_due()

    def send(self, frame: bytes, now_ns: int) -> None:
        """Put one frame on its way."""
        sequence = self._next_to_send
        self._next_to_send += 1
        network = self._network
        arrivals = (now_ns + network,) if isinstance(network, int) else network(now_ns)
        for arrival_ns in arrivals:
            heapq.heappush(self._flying, (arrival_ns, sequence, frame))
            if arrival_ns < self.due_ns and self._buffer is not None:
                self.due_ns = arrival_ns

    def receive(self, now_ns: int) -> Iterator[Heard]:
        """What is heard now, in order."""
        flying = self._flying
        while flying and flying[0][0] <= now_ns and self._buffer is not None:
            arrival_ns, sequence, frame = heapq.heappop(flying)
            self._measure(arrival_ns, sequence)
            if not self._held:
                yield from self._frames(
                    self._buffer.put(self._packet(sequence, frame, arrival_ns), now_ns)
                )
        if self._buffer is not None and self._buffer.due_ns <= now_ns:
            yield from self._frames(self._buffer.expire(now_ns))
        self._note_due()

    # Many frames at once

    def next_arrival_ns(self, send_ns: int) -> int | None:
        """When the next frame is heard, if one will be in each interval; None: it is not so.

        So it is on a good network when the sender goes on at this link's interval, from `send_ns`.
        """
        network, flying = self._network, self._flying
        if not isinstance(network, int) or self._buffer is None or self._jitter_ns or self._held:
            return None
        first_ns, sequence = flying[0][:2] if flying else (send_ns + network, self._next_to_send)
        regular = first_ns + len(flying) * self._interval_ns == send_ns + network
        next_is_due = self._buffer.expects(self._packet(sequence, b"", 0))
        return first_ns if regular and next_is_due else None

    @property
    def is_silent(self) -> bool:
        """Whether nothing but silence is on its way."""
        silence = self._silence
        return all(frame == silence for _, _, frame in self._flying)

    def coming(self, pcm: bytes) -> bytes:
        """What is received next, if `pcm` is sent next."""
        flying = sorted(self._flying)
        if not flying:
            return pcm
        kept = len(pcm) - len(flying) * len(self._silence)
        return b"".join([*(frame for _, _, frame in flying), pcm[: max(0, kept)]])

    def carry(self, pcm: bytes, frames: int, last_ns: int) -> bytes:
        """As many `send` of the frames in `pcm`, and `receive`, of a link that is regular.

        Args:
            pcm: what is sent.
            frames: how many those are.
            last_ns: when the last of as many is heard.

        Returns:
            What was received, frame after frame.
        """
        size, flying = len(self._silence), sorted(self._flying)
        shift_ns = frames * self._interval_ns
        whole = b"".join([*(frame for _, _, frame in flying), pcm])
        pieces = range(frames * size, len(whole), size)
        self._flying = [
            (at_ns + shift_ns, sequence + frames, whole[start : start + size])
            for (at_ns, sequence, _), start in zip(flying, pieces, strict=True)
        ]
        self._next_to_send += frames
        self._arrivals.came_in_order(frames)
        self.received_packets += frames
        if self._buffer is not None:
            self._buffer.pass_over(frames, self._frame_samples, last_ns)
        self._note_due()
        if self._last_transit_ns is None:
            last = self._next_to_send - len(flying) - 1
            self._last_transit_ns = last_ns - last * self._interval_ns
        return whole[: frames * size]

    def _note_due(self) -> None:
        if self._buffer is None:
            self.due_ns = NEVER_NS
            return
        due_ns = self._buffer.due_ns
        self.due_ns = min(self._flying[0][0], due_ns) if self._flying else due_ns

    def _packet(self, sequence: int, frame: bytes, came_ns: int) -> Packet[Body]:
        return Packet(
            _SOURCE,
            sequence & _SEQUENCES,
            sequence * self._frame_samples & _TIMESTAMPS,
            self._frame_samples,
            (frame, came_ns),
        )

    def _frames(self, released: list[Packet[Body] | Gap]) -> Iterator[Heard]:
        for item in released:
            if isinstance(item, Gap):
                for _ in range(item.duration // self._frame_samples):
                    yield Heard(self._silence, None)
            else:
                yield Heard(*item.body)

    def _measure(self, arrival_ns: int, sequence: int) -> None:
        self.received_packets += 1
        self._arrivals.came(sequence)
        transit_ns = arrival_ns - sequence * self._interval_ns
        if transit_ns != self._last_transit_ns or self._jitter_ns:
            last_ns = transit_ns if self._last_transit_ns is None else self._last_transit_ns
            self._jitter_ns += (abs(transit_ns - last_ns) - self._jitter_ns) / _JITTER_GAIN
            self._last_transit_ns = transit_ns
