"""How much of an answer was heard: its first sample and its last, weighed against the noise.

That the answer is heard at a lag is known where it is loud. How far it is heard from there, both
ways, is a question of likelihood: in each short stretch the noise explains what is heard better
with the answer under it, or without. The sum of that, in nats, is greatest at the edge. What lies
around it with nearly as great a sum may be the edge as well, and tells how far off it may be.
The noise is made white first, so that a hiss is told from the hum that drowns it.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import correlation

Wave = NDArray[np.float64]

_WINDOW_MS = 5
_ORDER = 12  # of the filter that whitens
_HIGHEST_HZ = (2600, 3300)  # that a telephone's line surely has
_BAND = 0.85  # of the samples are free: the rest lies above the band that is compared
_LEAST = 1.0  # the energy of a sample: what rounding to integers leaves, several times over
_SPEAKS_AGAINST = 3.0  # nats in a window, at most: a lost packet is silent, and the answer goes on
_SHARES = (0.005, 0.5, 0.995)  # of all that is likely
_WHOLE = 10  # times as likely it is played from end to end as it is cut, at any of its samples
_GAINS = ((1.0, 0.0), (0.32, 3.0), (0.1, 3.0))
"""How loud a part may be against the rest, and what that costs, in nats for a window."""
_SOMETHING_ELSE = 10.0  # times the noise: as likely something else, which may have any energy
_LEAST_SHARE, _MOST_SHARE = 1e-3, 0.2
_LOUD = 0.1  # of the mean energy
_PLACES = 4


class Edge(NamedTuple):
    """A place of the sent audio, and between which places it may lie as well."""

    place: int
    low: int
    high: int


class Elsewhere(NamedTuple):
    """A piece of the sent audio that is heard later than expected: from, to, and how much later."""

    start: int
    end: int
    later: int
    nats: float
    """How much likelier that is than that it is not heard."""


class Likeness:
    """Of what is heard with the sent audio under it: learnt where it surely is.

    Args:
        sent: as loud as it is heard.
        heard: in step with it: what else is in it is the line's noise.
        rate_hz: of both.
    """

    def __init__(self, sent: Wave, heard: Wave, rate_hz: int) -> None:
        self._window = rate_hz * _WINDOW_MS // 1000
        self._taps = _whitening(heard - sent, rate_hz)
        white, rest = (np.convolve(one, self._taps)[: one.size] for one in (sent, heard - sent))
        sent_energy, rest_energy = (
            _smoothed(np.square(one), self._window) for one in (white, rest)
        )
        self._noise = _noise(sent_energy, rest_energy)
        self._share = _share(sent_energy, rest_energy, self._noise)

    def first(self, sent: Wave, heard: Wave) -> Edge:
        """From which sample on it is heard; it is to the end of what is given."""
        last = self._edge(*(one[::-1] for one in self._nats(sent, heard)))
        return Edge(sent.size - last.place, sent.size - last.high, sent.size - last.low)

    def last(self, sent: Wave, heard: Wave) -> Edge:
        """Up to before which sample it is heard; it is from the beginning of what is given."""
        return self._edge(*self._nats(sent, heard))

    def elsewhere(self, sent: Wave, heard: Wave) -> Elsewhere | None:
        """Where a piece is likeliest heard, that may lie anywhere in what is given.

        The noise made white, it need not be louder than the noise: each sample says a little.
        """
        one, other = (np.convolve(wave, self._taps)[: wave.size] for wave in (sent, heard))
        likenesses = correlation.likenesses(one, np.pad(other, one.size))
        best: Elsewhere | None = None
        for _ in range(_PLACES):
            if not likenesses.size or likenesses.max() <= 0:
                break
            place = int(likenesses.argmax())
            likenesses[max(0, place - self._window // 4) : place + self._window // 4 + 1] = 0
            later = place - one.size
            start, end = max(0, -later), min(sent.size, heard.size - later)
            if end <= start:
                continue
            nats, _ = self._nats(sent[start:end], heard[start + later : end + later])
            first, past, sum_ = _likeliest(np.maximum(nats, -_SPEAKS_AGAINST / self._window))
            if best is None or sum_ > best.nats:
                best = Elsewhere(start + first, start + past, later, sum_)
        return best

    def _nats(self, sent: Wave, heard: Wave) -> tuple[Wave, Wave]:
        """How much likelier each sample is if it is heard: by what is around it, and alone."""
        one, other = (np.convolve(wave, self._taps)[: wave.size] for wave in (sent, heard))
        rest, silent = np.square(other - one), np.square(other)
        own, smooth, cross = (
            _smoothed(wave, self._window) for wave in (np.square(one), silent, one * other)
        )
        around = np.full(sent.size, -np.inf)
        for gain, cost in _GAINS:
            floor = self._noise + self._share * gain**2 * own
            unexplained = np.maximum(0.0, smooth - 2 * gain * cross + gain**2 * own)
            most = np.maximum(_SOMETHING_ELSE * floor, unexplained)
            without = np.minimum(smooth, most)
            nats = np.log((without + floor) / (unexplained + floor)) * _BAND
            np.maximum(around, nats - cost / self._window, out=around)
        return around, np.asarray((silent - rest) / (self._noise + self._share * own))

    def _edge(self, nats: Wave, alone: Wave) -> Edge:
        """The place before which and behind which the edge is as likely to be.

        Where it is sharp that is known by single samples, which noise would mislead.
        """
        sums = _sums(np.maximum(nats, -_SPEAKS_AGAINST / self._window))
        best = int(sums.argmax())
        sums = np.concatenate((sums[:best], sums[best] + _sums(nats[best:])))
        sums[-1] += math.log(_WHOLE * sums.size)
        likely = np.cumsum(np.exp(sums - sums.max()))
        low, place, high = np.searchsorted(likely, likely[-1] * np.array(_SHARES)).tolist()
        if place < nats.size and high - low < 4 * self._window:
            near = max(0, place - 2 * self._window)
            place = near + int(_sums(alone[near : place + 2 * self._window]).argmax())
        if place < nats.size:  # a filter rings for as long beside a cut, and is like the answer
            low, high = low - self._window // 5, high + self._window // 5
        return Edge(place, max(0, min(low, place)), min(nats.size, max(place, high)))


def _likeliest(nats: Wave) -> tuple[int, int, float]:
    """The stretch with the greatest sum: from, to, and that sum."""
    sums = _sums(nats)
    risen = sums - np.minimum.accumulate(sums)
    past = int(risen.argmax())
    first = int(sums[: past + 1].argmin())
    return first, past, float(risen[past])


def _sums(nats: Wave) -> Wave:
    return np.concatenate(([0.0], np.cumsum(nats)))


def _smoothed(energy: Wave, window: int) -> Wave:
    """The mean of so many samples around each: of fewer at the end, of the first ones before."""
    sums, size, half = np.concatenate(([0.0], np.cumsum(energy))), energy.size, window // 2
    if size <= window:
        low = np.maximum(np.arange(size) - half, 0)
        high = np.minimum(low + window, size)
        return np.asarray((sums[high] - sums[low]) / np.maximum(1, high - low))
    mean = np.empty(size)
    mean[half : size - window + half + 1] = (sums[window:] - sums[:-window]) / window
    mean[:half] = mean[half]
    rest = size - window + 1
    mean[rest + half :] = (sums[-1] - sums[rest : size - half]) / np.arange(window - 1, half, -1)
    return mean


def _whitening(noise: Wave, rate_hz: int) -> Wave:
    """The filter that makes a noise white (linear prediction); as loud above the band as in it."""
    energy = float(noise.dot(noise))
    if noise.size <= rate_hz // 100 or energy <= _LEAST * noise.size:
        return np.ones(1)
    size = correlation.fast_length(noise.size + _ORDER)  # what wraps round lies behind those lags
    spectrum = np.fft.rfft(noise, size)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    low, high = (round(hz * size / rate_hz) for hz in _HIGHEST_HZ)
    power[high:] = power[low:high].mean()
    like = np.fft.irfft(power, size)[: _ORDER + 1]
    like[0] *= 1.001
    lags = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    return np.concatenate(([1.0], -np.linalg.solve(like[lags], like[1:])))


def _noise(sent: Wave, rest: Wave) -> float:
    """The energy of a sample of what is neither the answer nor what a codec makes of it."""
    faint = rest[sent <= _LOUD * sent.mean()] if sent.size else rest
    return max(_LEAST, float(np.median(faint)) if faint.size else 0.0)


def _share(sent: Wave, rest: Wave, noise: float) -> float:
    """How much of the answer's own energy is besides heard as something else: a codec's work."""
    loud = sent > sent.mean() if sent.size else np.zeros(0, np.bool_)
    if not loud.any():
        return _MOST_SHARE
    share: Any = np.median((rest[loud] - noise) / sent[loud])
    return float(np.clip(share, _LEAST_SHARE, _MOST_SHARE))
