"""The caller's ear: what a telephone would play of what came in, worked out from arrival times.

A telephone's loudspeaker has a clock of its own, and a small buffer before it. When exactly a
thread of ours ran does not matter then: the same arrivals are the same sound, to the sample.

- **Buffer.** The first frame is played `BUFFER_NS` after it came in; those behind it follow.
- **Late frames.** One that comes after its time leaves a hole, of silence; it is played when it is
  there and has waited as long as a first one, and so are those behind it: the delay has grown.
- **Lost frames** are silence of their length.
- **Shrinking.** What every frame of `WINDOW_NS` has waited longer than the buffer asks is given up:
  the next frame takes the place of the last that waits.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from callerside.audio import BYTES_PER_SAMPLE, to_samples
from callerside.clock import NS_PER_MS, NS_PER_S

BUFFER_NS = 3 * NS_PER_MS
"""More than packets of a machine that is not overloaded are apart (docs/metrics.md)."""
WINDOW_NS = 400 * NS_PER_MS
"""After a stall the first one has its last packets in it, which came in time: two are needed."""
_SPARE_NS = NS_PER_MS
"""Less than this is not worth a cut."""
_NEVER_NS = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One frame of the other side's audio, as long as all others."""

    pcm: bytes
    at_ns: int | None
    """When it came in; None: never, and `pcm` fills its time."""


def play(arrivals: Iterable[Arrival], rate_hz: int) -> list[tuple[int, bytes]]:
    """When a telephone plays which frame: a later one covers what an earlier one still had to say.

    Args:
        arrivals: in the order of the audio.
        rate_hz: of the samples.
    """
    played: list[tuple[int, bytes]] = []
    speaker = _Loudspeaker()
    for arrival in arrivals:
        length_ns = len(arrival.pcm) // BYTES_PER_SAMPLE * NS_PER_S // rate_hz
        at_ns = speaker.takes(arrival.at_ns, length_ns)
        if at_ns is not None:
            played.append((at_ns, arrival.pcm))
    return played


def render(
    arrivals: Iterable[Arrival], rate_hz: int, *, begin_ns: int, samples: int
) -> NDArray[np.int16]:
    """What was played from `begin_ns` on, as so many samples."""
    sound = np.zeros(samples, dtype=np.int16)
    for at_ns, pcm in play(arrivals, rate_hz):
        begin = round((at_ns - begin_ns) * rate_hz / NS_PER_S)
        frame = to_samples(pcm)[max(0, -begin) :]
        begin = max(0, begin)
        frame = frame[: max(0, samples - begin)]
        sound[begin : begin + len(frame)] = frame
    return sound


class _Loudspeaker:
    """When the next frame is played."""

    def __init__(self) -> None:
        self._next_ns: int | None = None
        self._least_ns = _NEVER_NS
        """The least that a frame has waited in this window."""
        self._window_ns = 0
        """How much was played in it."""

    def takes(self, came_ns: int | None, length_ns: int) -> int | None:
        """When the frame is played; None: never, as nothing has begun yet."""
        if came_ns is None:
            if self._next_ns is None:
                return None
        elif self._next_ns is None or self._next_ns < came_ns:
            self._next_ns = came_ns + BUFFER_NS
            self._begin_window()
        else:
            self._shrink(self._next_ns, came_ns)
        begins_ns = self._next_ns
        self._next_ns = begins_ns + length_ns
        self._window_ns += length_ns
        return begins_ns

    def _shrink(self, next_ns: int, came_ns: int) -> None:
        waits_ns = next_ns - came_ns
        self._least_ns = min(self._least_ns, waits_ns)
        if self._window_ns < WINDOW_NS:
            return
        spare_ns = self._least_ns - BUFFER_NS
        if spare_ns >= _SPARE_NS:
            self._next_ns = next_ns - spare_ns
        self._begin_window()

    def _begin_window(self) -> None:
        self._window_ns, self._least_ns = 0, _NEVER_NS
