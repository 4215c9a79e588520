"""A call's frames of what its codec gives: all of one length and rate, none missing.

Packets may be of any length, a codec's rate another than the call's, and what never came is filled.
"""

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from callerside.agent.telephony.interface import FRAME_MS
from callerside.agent.telephony.media.concealment import Concealer
from callerside.agent.telephony.media.jitter_buffer import Gap
from callerside.audio import BYTES_PER_SAMPLE, to_bytes, to_samples

Frames = tuple[bytes, ...]
"""Of 20 ms each, at the call's rate."""

DELAY_MS = 1.8
"""Of a stream whose rate is changed, at most."""
_HALF_MS = 1.5
"""Half the filter's length."""
_EDGE = 0.94
"""Where the filter is down by half, as a part of the narrower band: flat to 7 kHz between 16 and
24 kHz, which is all that G.722 carries, and below -60 dB where it would fold."""
_BETA = 6.0


class FrameMaker:
    """Of one codec, for as long as it is used.

    Args:
        codec_hz: of its samples.
        clock_hz: of the timestamps of its packets.
        rate_hz: the call's.
        conceals: what was lost sounds like what was said before; else it is silence.
    """

    def __init__(self, codec_hz: int, clock_hz: int, rate_hz: int, *, conceals: bool) -> None:
        self._codec_hz, self._clock_hz = codec_hz, clock_hz
        self._frame_bytes = codec_hz * FRAME_MS // 1000 * BYTES_PER_SAMPLE
        self._rate = FrameRate(codec_hz, rate_hz) if codec_hz != rate_hz else None
        self._concealer = Concealer(codec_hz) if conceals else None
        self._part = bytearray()
        """Of a frame whose rest is still to come."""

    def heard(self, pcm: bytes) -> Frames:
        """What has been decoded; where it is one frame as it is, that is what is returned."""
        if self._concealer is not None:
            self._concealer.hear(pcm)
        if not self._part and len(pcm) == self._frame_bytes:
            return (pcm if self._rate is None else self._rate.convert(pcm),)
        return self._whole(pcm)

    def missing(self, gap: Gap) -> Frames:
        """What is heard instead of what did not come."""
        samples = gap.duration * self._codec_hz // self._clock_hz
        if gap.lost and self._concealer is not None:
            return self._whole(self._concealer.fill(samples))
        return self._whole(bytes(samples * BYTES_PER_SAMPLE))

    def _whole(self, pcm: bytes) -> Frames:
        part, size = self._part, self._frame_bytes
        part += pcm
        whole = len(part) - len(part) % size
        frames = [bytes(part[start : start + size]) for start in range(0, whole, size)]
        del part[:whole]
        return tuple(map(self._rate.convert, frames) if self._rate is not None else frames)


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
