"""The RTP stream of one end of a line in memory.

Every 20 ms a frame is taken from the playout buffer and put on the network, as the sip lane's pacer
does; what comes from the network is reported to the leg as it comes. The codec's loss is applied
where audio is queued, in long pieces: G.711 quantises every sample by itself, so that frames would
give the same for more work. `virtual.fast_forward` says when either is due, and lets several frames
pass at once where that is the same.
"""

from collections.abc import Callable, Collection

from callerside.agent.telephony.interface import FRAME_MS, NOTHING_PLAYED, TaggedSamples
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.audio import AudioFormat, Encoding
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.virtual.clock import NEVER_NS, VirtualClock
from callerside.simulator.lanes.virtual.packet_link import MediaLink

FRAME_NS = FRAME_MS * NS_PER_MS
MANY_FRAMES = 1 << 30
"""More than any call has."""

_QUANTISED: dict[str, Encoding] = {"PCMU": "pcmu", "PCMA": "pcma"}

OnLeft = Callable[[bytes, TaggedSamples, int], None]
"""Called with each frame that left, or several: what of it came from `play`, and when the (last)
one did."""
OnHeard = Callable[[bytes, int, int | None], None]
"""Called with each frame that is heard, or several: when the (last) one is, and when the (first)
one came; None: it never did, and silence stands for it."""


class VirtualMedia:
    """One end's media.

    Args:
        clock: the run's time.
        sends: the way to the other end.
        hears: the way from it.
        rate_hz: of the PCM at this end.
        codec: `PCMU` and `PCMA` leave their quantisation on what is sent.
        max_playout_ms: bound of the playout buffer.
        phase_ns: when, within 20 ms, this end sends.
        frame_ns: its period: 20 ms, but for drift.
        timeout_ms: hearing nothing for so long is a dead call.
        on_left: see `OnLeft`.
        on_heard: see `OnHeard`.
        on_timeout: called, once, when nothing has been heard for so long.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        sends: MediaLink,
        hears: MediaLink,
        rate_hz: int,
        codec: str,
        max_playout_ms: int,
        phase_ns: int,
        frame_ns: int,
        timeout_ms: int,
        on_left: OnLeft,
        on_heard: OnHeard,
        on_timeout: Callable[[], None],
    ) -> None:
        self.hears = hears
        self.sends = sends
        self.due_ns = NEVER_NS
        """When the next frame leaves."""
        self.sequence = 0
        self.frame_ns = frame_ns
        self._clock = clock
        self._frame_samples = rate_hz // 1000 * FRAME_MS
        self._silence = bytes(2 * self._frame_samples)
        self._playout = PlayoutBuffer(rate_hz // 1000 * max_playout_ms)
        encoding = _QUANTISED.get(codec)
        self._codec = AudioFormat(encoding) if encoding else None
        self._phase_ns = phase_ns
        self._timeout_ns = timeout_ms * NS_PER_MS
        self._on_left, self._on_heard = on_left, on_heard
        self._on_timeout = on_timeout
        self._silent = False
        self._playing = False  # False: there is nothing to read
        self._packets_seen = 0
        self._heard_at_ns = 0

    @property
    def running(self) -> bool:
        """Whether it sends and hears."""
        return self.due_ns != NEVER_NS

    @property
    def silent(self) -> bool:
        """On hold: empty frames leave, what is to be played waits, and silence is heard."""
        return self._silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent == self._silent:
            return
        self._silent = silent
        if self.running:
            (self.hears.hold if silent else self.hears.open)(self._clock.now_ns())

    def start(self) -> None:
        """Send and hear from now on; the pacer has run since before the call."""
        now_ns = self._clock.now_ns()
        self._heard_at_ns = now_ns
        self.due_ns = now_ns + (self._phase_ns - now_ns) % self.frame_ns
        self.sequence = self.hears.sequence = self._clock.take_sequence()
        (self.hears.hold if self._silent else self.hears.open)(now_ns)

    def stop(self) -> None:
        """No more media."""
        self.due_ns = NEVER_NS
        self.hears.close()

    def play(self, pcm: bytes, tag: int) -> int:
        """Queue audio; returns how many samples found no room."""
        if self._codec is not None:
            pcm = self._codec.quantise(pcm)
        self._playing = True
        return self._playout.write(pcm, tag)

    def clear(self, tags: Collection[int] | None) -> TaggedSamples:
        """Drop what waits; returns what that was."""
        return self._playout.clear(tags)

    def send(self) -> None:
        """A frame leaves, as it is due."""
        at_ns = self.due_ns
        if self.hears.received_packets != self._packets_seen:
            self._packets_seen = self.hears.received_packets
            self._heard_at_ns = at_ns
        elif at_ns - self._heard_at_ns >= self._timeout_ns:
            self.stop()
            self._on_timeout()
            return
        self.due_ns += self.frame_ns
        self.sequence = self.sends.sequence = self._clock.take_sequence()
        if self._playing and not self._silent:
            sent, played = self._playout.read(self._frame_samples)
            self._playing = sum(count for _, count in played) == self._frame_samples
        else:
            sent, played = self._silence, NOTHING_PLAYED
        self.sends.send(sent, at_ns)
        self._on_left(sent, played, at_ns)

    def hear(self, now_ns: int) -> None:
        """What has come is heard, and what has not."""
        self.hears.sequence = self._clock.take_sequence()
        for pcm, came_ns in self.hears.receive(now_ns):
            self._on_heard(pcm, now_ns if came_ns is None else came_ns, came_ns)

    # Several frames at once

    @property
    def frames_alike(self) -> int:
        """So many frames will leave alike: whole ones from the playout buffer, or silent ones."""
        return len(self._playout) // self._frame_samples if self._playing else MANY_FRAMES

    def coming(self, frames: int) -> bytes | None:
        """What the other end hears next, if so many frames leave here; None for silence."""
        if not self._playing and self.sends.is_silent:
            return None
        size = 2 * frames * self._frame_samples
        return self.sends.coming(self._playout.peek(size) if self._playing else bytes(size))

    def take_frames(self, frames: int) -> tuple[bytes, TaggedSamples]:
        """The next frames that leave, and what of them is ours; no more than `frames_alike`."""
        if self._playing:
            return self._playout.read(frames * self._frame_samples)
        return bytes(2 * frames * self._frame_samples), NOTHING_PLAYED

    def pass_sent(self, sent: bytes, played: TaggedSamples, frames: int) -> None:
        """So many frames leave at once, as `take_frames` gave them."""
        last_ns = self.due_ns + (frames - 1) * self.frame_ns
        self.due_ns = last_ns + self.frame_ns
        self._clock.skip_to(last_ns)
        self.sequence = self._clock.take_sequence()
        self._on_left(sent, played, last_ns)

    def pass_heard(self, heard: bytes, first_ns: int, frames: int) -> None:
        """So many frames are heard at once, of which the first comes at `first_ns`."""
        last_ns = first_ns + (frames - 1) * FRAME_NS
        self._packets_seen, self._heard_at_ns = self.hears.received_packets, last_ns
        self._clock.skip_to(last_ns)
        self.hears.sequence = self._clock.take_sequence()
        self._on_heard(heard, last_ns, first_ns)
