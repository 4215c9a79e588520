"""The caller's ear: what a telephone would play of what came in, worked out from arrival times.

A telephone's loudspeaker has a clock of its own, and a buffer before it. When exactly a thread of
ours ran does not matter then: the same arrivals are the same sound, to the sample.

- **Buffer.** It bears a frame that is up to `BUFFER_NS` late: nothing is to be heard of that. Such
  a telephone plays everything so much later, which is the same in all calls of all agents: here
  the time axis is put back by it, so that a frame which is not late is heard when it comes.
- **Later frames** leave a hole, of silence, from their time to when they come; those behind them
  follow: the delay has grown by the hole.
- **Lost frames** are silence of their length.
- **After a pause** of `PAUSE_NS` a frame is heard when it comes, be it early or late: there a
  telephone sets its delay anew, and nobody hears it. So an onset that came late is late.
- **Shrinking.** By what all frames of a while (`WINDOWS_NS`) have come earlier than needed, the
  delay is made smaller: the next frame takes the place of the last that waits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.clock import NS_PER_MS, NS_PER_S

BUFFER_NS = 40 * NS_PER_MS
"""Of telephones, those with small buffers: 40 to 60 ms is usual (docs/metrics.md)."""
PAUSE_NS = 200 * NS_PER_MS
"""Longer than the pauses within words."""
WINDOWS_NS = ((400 * NS_PER_MS, BUFFER_NS), (2 * NS_PER_S, NS_PER_MS))
"""For so long all frames have waited, and how much longer than needed that must be. What a stall
has left is given up soon: its last packets came in time and are in the first window, so two are
needed. What a buffer is there for can wait, and is not to be cut out of a beep."""
_SILENT = round(32768 * 10 ** (-50 / 20))
_NEVER_NS = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A frame of the other side's audio, or several that came in their time."""

    pcm: bytes
    at_ns: int | None
    """When it, or the first of them, came in; None: never, and `pcm` fills its time."""


class Played(NamedTuple):
    """A frame at the ear."""

    at_ns: int
    pcm: bytes
    late_ns: int
    """By how much it came after its time and was not heard to: at most `BUFFER_NS`."""


def play(arrivals: Iterable[Arrival], rate_hz: int) -> list[Played]:
    """When a telephone plays which frame: a later one covers what an earlier one still had to say.

    Args:
        arrivals: in the order of the audio.
        rate_hz: of the samples.
    """
    played: list[Played] = []
    speaker = _Loudspeaker()
    for arrival in arrivals:
        length_ns = len(arrival.pcm) // BYTES_PER_SAMPLE * NS_PER_S // rate_hz
        at_ns = speaker.takes(arrival.at_ns, length_ns, silent=_is_silent(arrival.pcm))
        if at_ns is not None:
            late_ns = 0 if arrival.at_ns is None else max(0, arrival.at_ns - at_ns)
            played.append(Played(at_ns, arrival.pcm, late_ns))
    return played


def render(
    played: Iterable[Played], rate_hz: int, *, begin_ns: int, samples: int
) -> NDArray[np.int16]:
    """What was played from `begin_ns` on, as so many samples."""
    sound = np.zeros(samples, dtype=np.int16)
    for at_ns, pcm, _ in played:
        begin = round((at_ns - begin_ns) * rate_hz / NS_PER_S)
        frame = to_samples(pcm)[max(0, -begin) :]
        begin = max(0, begin)
        frame = frame[: max(0, samples - begin)]
        sound[begin : begin + len(frame)] = frame
    return sound


def _is_silent(pcm: bytes) -> bool:
    if pcm.count(0) == len(pcm):
        return True
    return int(np.abs(to_samples(pcm).astype(np.int32)).max()) < _SILENT


class _Loudspeaker:
    """When the next frame is played."""

    def __init__(self) -> None:
        self._next_ns: int | None = None
        self._silent_ns = 0
        """How long nothing was to be heard."""
        self._windows = tuple(_Window(*one) for one in WINDOWS_NS)

    def takes(self, came_ns: int | None, length_ns: int, *, silent: bool) -> int | None:
        """When the frame is played; None: never, as nothing has begun yet."""
        if came_ns is None:
            if self._next_ns is None:
                return None
        elif self._next_ns is None or self._sets_anew(came_ns, self._next_ns):
            self._next_ns = came_ns
            self._begin_windows()
        else:
            self._shrink(self._next_ns, came_ns)
        begins_ns = self._next_ns
        self._next_ns = begins_ns + length_ns
        for window in self._windows:
            window.played_ns += length_ns
        self._silent_ns = self._silent_ns + length_ns if silent else 0
        return begins_ns

    def _sets_anew(self, came_ns: int, next_ns: int) -> bool:
        return self._silent_ns >= PAUSE_NS or came_ns - next_ns > BUFFER_NS

    def _shrink(self, next_ns: int, came_ns: int) -> None:
        spare_ns = max(window.spare_ns(next_ns - came_ns) for window in self._windows)
        if spare_ns:
            self._next_ns = next_ns - spare_ns
            self._begin_windows()

    def _begin_windows(self) -> None:
        for window in self._windows:
            window.begin()


class _Window:
    """What all frames of some time have waited."""

    def __init__(self, length_ns: int, worth_ns: int) -> None:
        self.played_ns = 0
        self._length_ns = length_ns
        self._worth_ns = worth_ns
        self.begin()

    def begin(self) -> None:
        """Forget what has been."""
        self.played_ns, self._least_ns = 0, _NEVER_NS

    def spare_ns(self, waits_ns: int) -> int:
        """What can be given up, as a frame comes that waits so long (negative: was so late)."""
        self._least_ns = min(self._least_ns, waits_ns)
        if self.played_ns < self._length_ns:
            return 0
        spare_ns = self._least_ns
        self.begin()
        return spare_ns if spare_ns >= self._worth_ns else 0
