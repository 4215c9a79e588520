"""Fills what was lost of a voice with what was said just before.

The last period of the voice goes on, ever more quietly: after 60 ms there is silence (as in G.711
Appendix I). It adds no delay, and nothing that was received is changed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from callerside.audio import to_bytes, to_samples

_LONGEST_S, _SHORTEST_S = 0.015, 0.0025
"""A voice's periods: 66 to 400 Hz."""
_COMPARED_S = 0.02
_FADED_S = 0.06


class Concealer:
    """One voice, at one rate."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._kept = round(rate_hz * (_COMPARED_S + _LONGEST_S))
        self._before: NDArray[np.float64] = np.zeros(self._kept)
        self._period: NDArray[np.float64] = np.zeros(0)
        self._made = 0
        """Samples made up since the last that came."""

    def hear(self, pcm: bytes) -> None:
        """What came."""
        if pcm:
            samples = to_samples(pcm).astype(np.float64)
            self._before = np.concatenate((self._before, samples))[-self._kept :]
            self._made = 0

    def fill(self, samples: int) -> bytes:
        """So many samples that did not."""
        if not self._made:
            self._period = self._last_period()
        at = np.arange(self._made, self._made + samples)
        self._made += samples
        level = np.clip(1 - at / (_FADED_S * self._rate_hz), 0, 1)
        return to_bytes(self._period[at % len(self._period)] * level)

    def _last_period(self) -> NDArray[Any]:
        """The end of what came, as long as its sound is like itself."""
        shortest, longest = (round(s * self._rate_hz) for s in (_SHORTEST_S, _LONGEST_S))
        compared = round(_COMPARED_S * self._rate_hz)
        end = self._before[-compared:]
        likeness = [
            float(end @ earlier) / (float(np.sqrt(earlier @ earlier)) + 1.0)
            for lag in range(shortest, longest + 1)
            if len(earlier := self._before[-compared - lag : -lag]) == compared
        ]
        return self._before[-(shortest + int(np.argmax(likeness))) :]
