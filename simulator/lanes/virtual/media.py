"""The sound device and the RTP stream of one end of a line in memory, ticking every 20 ms.

Each tick takes a frame from the playout buffer and puts it on the network, takes one out of the
jitter buffer, and reports both to the leg. The codec's loss is applied where audio is queued, in
long
pieces: G.711 quantises every sample by itself, so that frames would give the same for more work.
`virtual.fast_forward` makes both ends tick, and several frames at once where that is the same.
"""

from collections.abc import Callable, Collection

from callerside.agent.telephony.interface import FRAME_MS, NOTHING_PLAYED, TaggedSamples
from callerside.agent.telephony.playout_buffer import PlayoutBuffer
from callerside.audio import AudioFormat, Encoding
from callerside.clock import NS_PER_MS
from callerside.simulator.lanes.virtual.clock import NEVER_NS, VirtualClock
from callerside.simulator.lanes.virtual.packet_link import MediaLink

FRAME_NS = FRAME_MS * NS_PER_MS
MANY_FRAMES = 1 << 30
"""More than any call has."""

_QUANTISED: dict[str, Encoding] = {"PCMU": "pcmu", "PCMA": "pcma"}

OnFrames = Callable[[bytes, TaggedSamples, bytes, int], None]
"""Called at each tick, or for several: what left, what of it came from `play`, what was heard, and
when the (last) tick was."""


class VirtualMedia:
    """One end's media.

    Args:
        clock: the run's time.
        sends: the way to the other end.
        hears: the way from it.
        rate_hz: of the PCM at this end.
        codec: `PCMU` and `PCMA` leave their quantisation on what is sent.
        max_playout_ms: bound of the playout buffer.
        phase_ns: when, within 20 ms, this end's media clock ticks.
        frame_ns: its period: 20 ms, but for drift.
        timeout_ms: hearing nothing for so long is a dead call.
        on_frames: called at each tick.
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
        on_frames: OnFrames,
        on_timeout: Callable[[], None],
    ) -> None:
        self.hears = hears
        self.sends = sends
        self.silent = False
        """On hold: empty frames leave, what is to be played waits, and nothing is heard."""
        self.due_ns = NEVER_NS
        """When the next tick is."""
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
        self._on_frames = on_frames
        self._on_timeout = on_timeout
        self._playing = False  # False: there is nothing to read
        self._packets_seen = 0
        self._heard_at_ns = 0

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self.due_ns != NEVER_NS

    def start(self) -> None:
        """Tick from now on; the clock has run since before the call, so its ticks fall anywhere."""
        now_ns = self._clock.now_ns()
        self._heard_at_ns = now_ns
        self.due_ns = now_ns + (self._phase_ns - now_ns) % self.frame_ns
        self.sequence = self._clock.take_sequence()

    def stop(self) -> None:
        """Tick no more."""
        self.due_ns = NEVER_NS

    def play(self, pcm: bytes, tag: int) -> int:
        """Queue audio; returns how many samples found no room."""
        if self._codec is not None:
            pcm = self._codec.quantise(pcm)
        self._playing = True
        return self._playout.write(pcm, tag)

    def clear(self, tags: Collection[int] | None) -> TaggedSamples:
        """Drop what waits; returns what that was."""
        return self._playout.clear(tags)

    def tick(self) -> None:
        """One frame leaves, one is heard."""
        at_ns = self.due_ns
        self.due_ns += self.frame_ns
        self.sequence = self._clock.take_sequence()
        if self._playing and not self.silent:
            sent, played = self._playout.read(self._frame_samples)
            self._playing = sum(count for _, count in played) == self._frame_samples
        else:
            sent, played = self._silence, NOTHING_PLAYED
        heard = self.hears.receive(at_ns)
        if self.silent:
            heard = self._silence
        self.sends.send(sent, at_ns)
        if self.hears.received_packets != self._packets_seen:
            self._packets_seen = self.hears.received_packets
            self._heard_at_ns = at_ns
        elif at_ns - self._heard_at_ns >= self._timeout_ns:
            self.stop()
            self._on_timeout()
            return
        self._on_frames(sent, played, heard, at_ns)

    # Several ticks at once

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

    def pass_frames(self, sent: bytes, played: TaggedSamples, heard: bytes, frames: int) -> None:
        """Tick so many times at once; `sent` and `played` are what `take_frames` gave."""
        last_ns = self._heard_at_ns = self.due_ns + (frames - 1) * self.frame_ns
        self.due_ns = last_ns + self.frame_ns
        self._clock.skip_to(last_ns)
        self.sequence = self._clock.take_sequence()
        self._packets_seen = self.hears.received_packets
        self._on_frames(sent, played, heard, last_ns)
