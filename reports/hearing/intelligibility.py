"""How well an answer could be understood as it was heard: short-time objective intelligibility.

STOI compares the loudness of fifteen bands up to 4.3 kHz, stretch by stretch of 384 ms, in what was
sent and in what was heard, and answers with a number that goes with the share of words that
listeners understand: C. H. Taal, R. C. Hendriks, R. Heusdens and J. Jensen, "An Algorithm for
Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", IEEE Transactions on Audio,
Speech and Language Processing 19 (2011). It is no opinion score: those have no implementation that
installs without a compiler (docs/metrics.md).

`pystoi` computes the same, and a test holds this against it; but it loads scipy, which takes more
CPU than a short run has for all else.
"""

from functools import cache

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RATE_HZ = 8000
"""At which the two are compared: all that a narrow-band telephone carries."""

_LEAST_SAMPLES = RATE_HZ // 2
_MOST_SAMPLES = 20 * RATE_HZ  # of an answer: more says nothing new, and takes its time

# What follows is the paper's.
_STOI_HZ = 10_000
_FRAME, _HOP, _TRANSFORM = 256, 128, 512
_BANDS, _LOWEST_HZ = 15, 150
"""Of a third of an octave each; the middle of the first."""
_SILENT_DB = 40
"""Below the loudest frame of what was sent: frames that do not count."""
_STRETCH = 30
"""Frames that are compared with each other."""
_WORST_DB = -15
"""Of signal to distortion in one band: what is worse than that is unintelligible already."""
_LEAST = np.finfo(float).eps
_WINDOW = np.hanning(_FRAME + 2)[1:-1]


def intelligibility(sent: NDArray[np.int16], heard: NDArray[np.int16]) -> float | None:
    """STOI in percent, 100 for the same; both at `RATE_HZ`, in step, and equally long.

    None where there is less than about half a second of speech, which is too little to judge.
    """
    if sent.size < _LEAST_SAMPLES:
        return None
    frames = _loud_frames(*(_frames_of(one[:_MOST_SAMPLES]) for one in (sent, heard)))
    loudness = [_loudness(_joined(one)) for one in frames]
    if len(loudness[0]) < _STRETCH:
        return None
    return 100 * max(0.0, _likeness(*map(_stretches, loudness)))


def _frames_of(samples: NDArray[np.int16]) -> Floats:
    """A sound in frames that overlap by half, each faded in and out."""
    wave = soxr.resample(samples.astype(np.float64), RATE_HZ, _STOI_HZ)
    frames: Floats = sliding_window_view(wave[:-1], _FRAME)[::_HOP] * _WINDOW
    return frames


def _loud_frames(sent: Floats, heard: Floats) -> tuple[Floats, Floats]:
    """Those in which something was said."""
    level_db = 20 * np.log10(np.linalg.norm(sent, axis=1) + _LEAST)
    is_loud = level_db > level_db.max() - _SILENT_DB
    return sent[is_loud], heard[is_loud]


def _joined(frames: Floats) -> Floats:
    """One sound again, of frames that overlap by half."""
    wave = np.zeros((len(frames) + 1, _HOP))
    wave[:-1] += frames[:, :_HOP]
    wave[1:] += frames[:, _HOP:]
    return wave.ravel()


def _loudness(wave: Floats) -> Floats:
    """Of each frame (rows) in each band (columns)."""
    if wave.size <= _FRAME:
        return np.zeros((0, _BANDS))
    frames = sliding_window_view(wave[:-1], _FRAME)[::_HOP] * _WINDOW
    power = np.abs(np.fft.rfft(frames, _TRANSFORM)) ** 2
    loudness: Floats = np.sqrt(power @ _bands())
    return loudness


@cache
def _bands() -> Floats:
    """Which of a transform's frequencies (rows) are in which band (columns)."""
    at_hz = np.linspace(0, _STOI_HZ / 2, _TRANSFORM // 2 + 1)
    edges_hz = _LOWEST_HZ * 2.0 ** ((2 * np.arange(_BANDS + 1) - 1) / 6)
    edges = np.abs(at_hz[:, None] - edges_hz).argmin(axis=0)
    place = np.arange(at_hz.size)[:, None]
    bands: Floats = ((edges[:-1] <= place) & (place < edges[1:])).astype(float)
    return bands


def _stretches(loudness: Floats) -> Floats:
    """Every stretch of one band: by where it begins, band, frame."""
    stretches: Floats = sliding_window_view(loudness, _STRETCH, axis=0)
    return stretches


def _likeness(sent: Floats, heard: Floats) -> float:
    """The mean correlation, where what was heard is brought to the loudness of what was sent."""
    scaled = heard * (_norm(sent) / (_norm(heard) + _LEAST))
    clipped = np.minimum(scaled, sent * (1 + 10 ** (-_WORST_DB / 20)))
    return float(np.mean(np.sum(_direction(sent) * _direction(clipped), axis=2)))


def _norm(stretches: Floats) -> Floats:
    norm: Floats = np.linalg.norm(stretches, axis=2, keepdims=True)
    return norm


def _direction(stretches: Floats) -> Floats:
    """Without its mean, and of length 1."""
    rest = stretches - stretches.mean(axis=2, keepdims=True)
    return np.asarray(rest / (_norm(rest) + _LEAST))
