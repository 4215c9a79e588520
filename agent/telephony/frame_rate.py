"""Another rate for a stream of audio, frame by frame."""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callerside.audio import BYTES_PER_SAMPLE, to_bytes, to_samples

DELAY_MS = 1.8
"""Of a stream whose rate is changed, at most."""
_HALF_MS = 1.5
"""Half the filter's length."""
_EDGE = 0.94
"""Where the filter is down by half, as a part of the narrower band: flat to 7 kHz between 16 and
24 kHz, which is all that G.722 carries, and below -60 dB where it would fold."""
_BETA = 6.0


class FrameRate:
    """Changes the rate of a stream of frames: every 20 ms one frame in, one frame out.

    A polyphase filter, `DELAY_MS` late. soxr, which resamples whole sounds elsewhere, gives a
    stream out in blocks of 20 ms and more.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        common = gcd(from_hz, to_hz)
        self._step = from_hz // common
        self._phases = _phases(from_hz, to_hz, self._step, to_hz // common).astype(np.float32)
        self._before: NDArray[Any] = np.zeros(len(self._phases) - 1, dtype=np.float32)
        self._is_silent = True
        """Whether `_before` is: then silence becomes silence, which most frames of a call are."""

    def convert(self, frame: bytes) -> bytes:
        """The next frame at the new rate."""
        taps, phases = self._phases.shape
        count = (len(frame) // BYTES_PER_SAMPLE - 1) // self._step + 1
        is_silent = frame == bytes(len(frame))
        if is_silent and self._is_silent:
            return bytes(count * phases * BYTES_PER_SAMPLE)
        samples = np.concatenate((self._before, to_samples(frame)), dtype=np.float32)
        self._before = samples[-len(self._before) :]
        self._is_silent = is_silent and not self._before.any()
        # As `sliding_window_view(samples, taps)[::step]`, in a tenth of its time.
        stride = samples.itemsize
        windows: NDArray[np.float32] = np.ndarray(
            (count, taps), np.float32, samples, strides=(self._step * stride, stride)
        )
        return to_bytes((windows @ self._phases).ravel())


def _phases(from_hz: int, to_hz: int, step: int, count: int) -> NDArray[np.float64]:
    """What each sample of a window is worth (rows) to each of `count` that it makes (columns).

    A window moves on by `step`; the filter is a sinc under a Kaiser window.
    """
    half = from_hz * _HALF_MS // 1000
    row, column = np.arange(2 * half + step + 2), np.arange(count)
    at = half + 1 + column[None, :] * step / count - row[:, None]
    edge = _EDGE * min(1.0, to_hz / from_hz)
    under = np.sqrt(np.clip(1 - (at / half) ** 2, 0, None))
    window = np.where(np.abs(at) < half, np.i0(_BETA * under) / np.i0(_BETA), 0.0)
    phases: NDArray[np.float64] = edge * np.sinc(edge * at) * window
    return phases
