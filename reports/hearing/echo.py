"""The echo of one channel in the other: found, and taken off before anybody listens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing.correlation import fast_length, find

Samples = NDArray[np.int16]
Wave = NDArray[Any]

_LATEST_MS = 600
_FRAME_MS = 20
_FAINTER = 0.1  # energy: an echo comes back by 10 dB less at least
_LOUD = 1e-5  # energy of a frame against full scale: the other speaks
_ALIKE = 0.4
_TAPS_MS = 4
_FADED_MS = 200
_LEARNT_S = 120
_FULL_SCALE = 32768.0


def is_echo(piece: Samples, other: Samples) -> bool:
    """Whether a piece of one channel is what was in the other around it, and comes back fainter.

    What is fainter there is the piece's own echo, or leaks there.
    """
    match = find(piece, other)
    if not match.found:
        return False
    origin = other[match.offset : match.offset + piece.size].astype(np.float64)
    own = piece.astype(np.float64)
    return bool(own.dot(own) < origin.dot(origin))


def without_echo(heard: Samples, other: Samples, rate_hz: int) -> Samples:
    """A channel less what of the other channel comes back in it; as it is, where nothing does.

    The echo is looked for where the other channel speaks and this one is much fainter: there the
    way back (a delay of up to 600 ms, and a filter of 4 ms) is learnt by least squares.
    """
    count = min(heard.size, other.size, _LEARNT_S * rate_hz)
    a = other[:count].astype(np.float32) / np.float32(_FULL_SCALE)
    b = heard[:count].astype(np.float32) / np.float32(_FULL_SCALE)
    listened = _only_other(a, b, rate_hz)
    b = b * listened
    energy = float(np.vecdot(a, a)) * float(np.vecdot(b, b))
    if not energy:
        return heard
    taps = _TAPS_MS * rate_hz // 1000
    latest = _LATEST_MS * rate_hz // 1000
    size = fast_length(count + latest + taps)
    spectrum = np.fft.rfft(a, size)
    like = np.fft.irfft(np.conj(spectrum) * np.fft.rfft(b, size), size)[: latest + taps]
    late = int(np.abs(like[:latest]).argmax())
    # Of the other channel only what can have come back counts: the rest met the agent's own speech.
    met = np.where(listened[late:] != 0, a[: a.size - late], 0)
    met_energy = float(np.vecdot(met, met))
    if abs(like[late]) < _ALIKE * (met_energy * float(np.vecdot(b, b))) ** 0.5:
        return heard
    first = max(0, late - taps // 2)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    own = np.fft.irfft(power, size)[:taps]
    own[0] *= 1.001
    lags = np.abs(np.subtract.outer(np.arange(taps), np.arange(taps)))
    way = np.linalg.solve(own[lags], like[first : first + taps])
    # The way is learnt from all of the other channel, of which only a part was met.
    way *= float(np.vecdot(a, a)) / max(1e-12, met_energy)
    back = np.convolve(other.astype(np.float64), way)[: heard.size]
    echo = np.zeros(heard.size)
    length = min(back.size, max(0, heard.size - first))
    echo[first : first + length] = back[:length]
    return np.asarray(np.clip(np.rint(heard - echo), -32768, 32767).astype(np.int16))


def _only_other(a: Wave, b: Wave, rate_hz: int) -> Wave:
    """Of each sample of `b`: 1 where what is heard is much fainter than what may come back."""
    frame = _FRAME_MS * rate_hz // 1000
    count = a.size // frame
    if not count:
        return np.zeros(a.size, np.float32)
    said, heard = (
        np.square(one[: count * frame]).reshape(count, frame).mean(axis=1) for one in (a, b)
    )
    recent = np.lib.stride_tricks.sliding_window_view(
        np.pad(said, (_LATEST_MS // _FRAME_MS, 0)), _LATEST_MS // _FRAME_MS + 1
    ).max(axis=1)
    calm = _FADED_MS // _FRAME_MS
    loudest = np.lib.stride_tricks.sliding_window_view(np.pad(heard, calm), 2 * calm + 1)
    alone = (recent > _LOUD) & (loudest.max(axis=1) < _FAINTER * recent)
    mask = np.zeros(a.size, np.float32)
    mask[: count * frame] = np.repeat(alone, frame)
    return mask
