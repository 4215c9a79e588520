"""The sound device and the RTP stream of one end of a line in memory, ticking every 20 ms.

Each tick takes a frame from the playout buffer and puts it on the network, takes one out of the
jitter buffer, and tells the leg of both. The codec's loss is applied where audio is queued, in long
pieces: G.711 quantises every sample by itself, so that frames would give the same for more work.
"""

from collections.abc import Callable
from typing import Protocol

from agent.audio import AudioFormat, Encoding
from agent.clock import NS_PER_MS
from agent.leg import FRAME_MS
from agent.playout import PlayoutBuffer
from simulator.link import MediaLink
from simulator.virtual_clock import VirtualClock, VirtualTimer

FRAME_NS = FRAME_MS * NS_PER_MS

_QUANTISED: dict[str, Encoding] = {"PCMU": "pcmu", "PCMA": "pcma"}


class FrameListener(Protocol):
    """Who is told of each tick."""

    def __call__(self, *, sent: bytes, played_samples: int, heard: bytes, at_ns: int) -> None:
        """What left, how many samples of it came from `play`, and what was heard."""


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
        on_frame: told of each tick.
        on_timeout: told, once, that nothing has been heard for so long.
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
        on_frame: FrameListener,
        on_timeout: Callable[[], None],
    ) -> None:
        self.hears = hears
        self.silent = False
        """On hold: empty frames leave, what is to be played waits, and nothing is heard."""
        self._clock = clock
        self._sends = sends
        self._frame_samples = rate_hz // 1000 * FRAME_MS
        self._silence = bytes(2 * self._frame_samples)
        self._playout = PlayoutBuffer(rate_hz // 1000 * max_playout_ms)
        encoding = _QUANTISED.get(codec)
        self._codec = AudioFormat(encoding) if encoding else None
        self._phase_ns = phase_ns
        self._frame_ns = frame_ns
        self._timeout_ns = timeout_ms * NS_PER_MS
        self._on_frame = on_frame
        self._on_timeout = on_timeout
        self._timer: VirtualTimer | None = None
        self._tick_ns = 0
        self._playing = False  # False: there is nothing to read
        self._packets_seen = 0
        self._heard_at_ns = 0

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self._timer is not None

    def start(self) -> None:
        """Tick from now on; the clock has run since before the call, so its ticks fall anywhere."""
        now_ns = self._clock.now_ns()
        self._heard_at_ns = now_ns
        self._tick_ns = now_ns + (self._phase_ns - now_ns) % self._frame_ns
        self._timer = self._clock.call_at(self._tick_ns, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def play(self, pcm: bytes) -> int:
        """Queue audio; returns how many samples found no room."""
        if self._codec is not None:
            pcm = self._codec.decode(self._codec.encode(pcm))
        self._playing = True
        return self._playout.write(pcm)

    def clear(self) -> int:
        """Drop what waits; returns how many samples that was."""
        return self._playout.clear()

    def _tick(self) -> None:
        at_ns = self._tick_ns
        self._tick_ns += self._frame_ns
        if self._timer is not None:
            self._clock.again_at(self._tick_ns, self._timer, self._tick)
        if self._playing and not self.silent:
            sent, played = self._playout.read(self._frame_samples)
            self._playing = played == self._frame_samples
        else:
            sent, played = self._silence, 0
        heard = self.hears.receive(at_ns)
        if self.silent:
            heard = self._silence
        self._sends.send(sent, at_ns)
        if self.hears.received_packets != self._packets_seen:
            self._packets_seen = self.hears.received_packets
            self._heard_at_ns = at_ns
        elif at_ns - self._heard_at_ns >= self._timeout_ns:
            self.stop()
            self._on_timeout()
            return
        self._on_frame(sent=sent, played_samples=played, heard=heard, at_ns=at_ns)
