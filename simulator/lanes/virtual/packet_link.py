"""One direction of a call's audio in memory: packets that take time, and a jitter buffer.

A packet is one frame of 20 ms. What the network does to it (delay, loss, reordering, doubling) is
decided by a `Network`, which is handed in. The jitter buffer follows pjmedia's as the sip lane sets
it, which delivers from one frame on: a frame that is missing while later ones are here is concealed
and given up, an empty buffer is waited for, and one that holds more than it needs gives some away.
"""

import heapq
from collections.abc import Callable

from callerside.agent.telephony.arrivals import Arrivals

Network = Callable[[int], tuple[int, ...]]
"""When a packet that is sent at this nanosecond arrives: never (lost), once, or twice (doubled).

A good network may be given as a number: the nanoseconds that every packet takes.
"""

_MAX_BUFFERED_FRAMES = 10
"""200 ms (`jbMax` of the sip lane): beyond that the oldest are given up."""
_SHRINK_AFTER_FRAMES = 100
"""A buffer that held two or more for 2 s gives one away (pjmedia: progressive discard)."""
_JITTER_GAIN = 16
"""RFC 3550 §6.4.1: J(i) = J(i-1) + (|D(i-1,i)| - J(i-1)) / 16."""


class MediaLink:
    """Frames in at one end, frames out at the other, each at its own pace.

    Args:
        network: what becomes of each packet.
        frame_bytes: size of a frame of PCM.
        interval_ns: time between two frames as the sender's clock counts them, for the jitter.
    """

    def __init__(self, network: Network | int, frame_bytes: int, interval_ns: int) -> None:
        self._network = network
        self._silence = bytes(frame_bytes)
        self._interval_ns = interval_ns
        self._flying: list[tuple[int, int, bytes]] = []  # heap of (arrival, sequence, frame)
        self._buffered: dict[int, bytes] = {}
        self._next_to_send = 0
        self._next_to_play: int | None = None
        self._last_played = self._silence
        self._concealed = 0
        self._rich_frames = 0
        self._arrivals = Arrivals(first=0)
        self._last_transit_ns: int | None = None
        self._jitter_ns = 0.0
        self.received_packets = 0

    @property
    def lost_packets(self) -> int:
        """Those up to the newest that have not come; a doubled one makes up for none."""
        return self._arrivals.lost

    @property
    def jitter_ms(self) -> float:
        """Interarrival jitter, RFC 3550 §6.4.1."""
        return self._jitter_ns / 1_000_000

    @property
    def buffered_frames(self) -> int:
        """How many frames wait in the jitter buffer."""
        return len(self._buffered)

    def in_step(self, send_ns: int, receive_ns: int) -> bool:
        """Whether each coming `receive` gets just the frame that is next, nothing lost or late.

        So it is on a good network when both ends go on at this link's interval, `send` from
        `send_ns` on and `receive` from `receive_ns` on.
        """
        network, flying = self._network, self._flying
        if not isinstance(network, int) or self._buffered or self._jitter_ns:
            return False
        first_ns, sequence = flying[0][:2] if flying else (send_ns + network, self._next_to_send)
        in_order = sequence == self._next_to_play and (
            first_ns + len(flying) * self._interval_ns == send_ns + network
        )
        return in_order and first_ns <= receive_ns < first_ns + self._interval_ns

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

    def carry(self, pcm: bytes, frames: int) -> bytes:
        """As many `send` of the frames in `pcm`, and `receive`, of a link that is `in_step`.

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
        self._next_to_play = self._next_to_send - len(flying)
        self._arrivals.came_in_order(frames)
        self.received_packets += frames
        self._rich_frames = self._concealed = 0
        heard = whole[: frames * size]
        self._last_played = heard[-size:]
        return heard

    def send(self, frame: bytes, now_ns: int) -> None:
        """Put one frame on its way."""
        sequence = self._next_to_send
        self._next_to_send += 1
        network = self._network
        if isinstance(network, int):
            heapq.heappush(self._flying, (now_ns + network, sequence, frame))
            return
        for arrival_ns in network(now_ns):
            heapq.heappush(self._flying, (arrival_ns, sequence, frame))

    def receive(self, now_ns: int) -> bytes:
        """The frame that is due now: silence before the first and when nothing came for long."""
        flying = self._flying
        if flying and flying[0][0] <= now_ns:
            arrival_ns, sequence, frame = heapq.heappop(flying)
            self._measure(arrival_ns, sequence)
            alone = not self._buffered and not (flying and flying[0][0] <= now_ns)
            if alone and sequence == self._next_to_play:  # the ordinary frame of a good line
                self._rich_frames = self._concealed = 0
                self._next_to_play = sequence + 1
                self._last_played = frame
                return frame
            self._land(sequence, frame)
            while flying and flying[0][0] <= now_ns:
                arrival_ns, sequence, frame = heapq.heappop(flying)
                self._measure(arrival_ns, sequence)
                self._land(sequence, frame)
        if self._next_to_play is None:
            if not self._buffered:
                return self._silence
            self._next_to_play = min(self._buffered)
        if not self._buffered:
            return self._conceal()
        return self._take(self._bound(self._next_to_play))

    def _take(self, sequence: int) -> bytes:
        """The frame `sequence`, concealed if it is missing while later ones are here."""
        frame = self._buffered.pop(sequence, None)
        if frame is None and self._concealed:
            # What was concealed while nothing came stands for the frames that never will.
            sequence = min(sequence + self._concealed, min(self._buffered))
            frame = self._buffered.pop(sequence, None)
        self._next_to_play = sequence + 1
        if frame is None:
            return self._conceal()
        self._last_played = frame
        self._concealed = 0
        return frame

    def _land(self, sequence: int, frame: bytes) -> None:
        """Put a frame that has arrived into the jitter buffer, unless it is too late."""
        if self._next_to_play is None or sequence >= self._next_to_play:
            self._buffered[sequence] = frame

    def _measure(self, arrival_ns: int, sequence: int) -> None:
        self.received_packets += 1
        self._arrivals.came(sequence)
        transit_ns = arrival_ns - sequence * self._interval_ns
        if transit_ns != self._last_transit_ns or self._jitter_ns:
            last_ns = transit_ns if self._last_transit_ns is None else self._last_transit_ns
            self._jitter_ns += (abs(transit_ns - last_ns) - self._jitter_ns) / _JITTER_GAIN
            self._last_transit_ns = transit_ns

    def _bound(self, sequence: int) -> int:
        """Keep the buffer's delay near what the jitter needs, and below its bound.

        Returns:
            The frame to play now, `sequence` or a later one.
        """
        waiting = len(self._buffered)
        self._rich_frames = self._rich_frames + 1 if waiting > 1 else 0
        surplus = max(
            waiting - _MAX_BUFFERED_FRAMES, int(self._rich_frames >= _SHRINK_AFTER_FRAMES)
        )
        for _ in range(surplus):
            oldest = min(self._buffered)
            del self._buffered[oldest]
            sequence = oldest + 1
            self._rich_frames = 0
        return sequence

    def _conceal(self) -> bytes:
        """Repeat the last frame once, as a decoder's concealment would; then silence."""
        self._concealed += 1
        return self._last_played if self._concealed == 1 else self._silence
