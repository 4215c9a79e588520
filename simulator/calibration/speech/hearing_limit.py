"""What no ear does better in noise: the errors of two that are told more than any can know.

The edges of a sound are those of its clean source, and noise hides what is fainter than it. Two
ears are made up, and measured on the calls of the calibration, for its table:

- One that does not know the words, as of any other agent. It is told how loud the noise usually
  is in each of twenty bands, and hears the agent in all of the 16 ms in which the clean sound alone
  is as loud as that in any of them. All that it tells is then moved by what makes its p95 least. A
  real ear hears both together, and noise that varies: it needs more than that.
- One that knows the words, as of any agent on our fake. It is told at which sample they begin, how
  loud they are, whether they are cut, to half a second when, and the noise's spectrum and level
  there. Of all places of the cut it takes the one before and behind which it is as likely.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from callerside.reports.hearing import active_level
from callerside.simulator.calibration.speech.conditions import coded
from callerside.simulator.calibration.speech.spoken_call import SpokenCall, both_ms
from callerside.simulator.calibration.speech.utterances import RATE_HZ as SERVER_HZ
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

Wave = NDArray[np.float64]
Span = tuple[int, int]
Limit = Literal["sent, at best", "unknown, at best"]
LIMITS: tuple[Limit, ...] = ("sent, at best", "unknown, at best")

_WINDOW, _HOP = CALLER_RATE_HZ * 16 // 1000, CALLER_RATE_HZ // 400
_BAND_EDGES_HZ = (*range(60, 1000, 125), *np.geomspace(1000, 3600, 12).tolist())
_PAUSE = CALLER_RATE_HZ * 60 // 1000
_COMPARED_HZ = 8000
_NEAR = _COMPARED_HZ // 2
_ORDER = 24
_LOCAL = _COMPARED_HZ // 50
_INSIDE_HZ = (200.0, 3300.0)
_FREE = 0.85  # of the samples at that rate, as the band goes
_MOST = 0.95


def at_best(call: SpokenCall) -> Iterator[tuple[Limit, str, float | None]]:
    """(Whose, metric, error in ms) of a call with noise; nothing of any other.

    Those of who does not know the words are as heard: see `moved`.
    """
    if not call.noise.any() or call.condition.noise in ("hum", "comfort"):
        return
    later_ms = _cut(call) * 1000 / CALLER_RATE_HZ
    first, last = call.heard[1][-1]
    end = max(first, last + round(later_ms * CALLER_RATE_HZ / 1000))
    heard = [*call.heard[0], *call.heard[1][:-1], (first, end)]
    yield "sent, at best", "barge_in_stop_ms", later_ms
    yield "sent, at best", "talk_over_ms", _talk_over_ms(call, heard) - call.talk_over_ms
    for metric, error_ms in _out_of_noise(call):
        yield "unknown, at best", metric, error_ms


def moved(errors_ms: Sequence[float | None], of_ms: Sequence[float | None]) -> list[float | None]:
    """Errors less the constant that makes p95 of others least: the middle of where these lie."""
    known = np.sort(np.array([error for error in of_ms if error is not None]))
    if not known.size:
        return [*errors_ms]
    count = int(np.ceil(_MOST * known.size))
    widths = known[count - 1 :] - known[: known.size - count + 1]
    first = int(widths.argmin())
    middle = float(known[first] + known[first + count - 1]) / 2
    return [None if error is None else error - middle for error in errors_ms]


def _talk_over_ms(call: SpokenCall, heard: Iterable[Span]) -> float:
    return both_ms((span for one in call.said for span in one.voiced), heard)


def _out_of_noise(call: SpokenCall) -> Iterator[tuple[str, float | None]]:
    """By the ear that does not know the words."""
    clean, noise = (_levels(coded(wave, call.condition.codec)) for wave in (call.clean, call.noise))
    heard = (clean >= noise.mean(axis=0)).any(axis=1)
    audible: list[Span] = []
    for number, stretches in enumerate(call.heard):
        first, past = stretches[0][0] // _HOP, stretches[-1][1] // _HOP + 1
        places = (np.flatnonzero(heard[first:past]) + first) * _HOP
        known = bool(places.size)
        onset_ms = _ms(int(places[0]) - stretches[0][0]) if known else None
        end_ms = _ms(int(places[-1]) - stretches[-1][1]) if known else None
        audible += active_level.without_pauses(places, _PAUSE)
        yield "onset", onset_ms
        if number == 0:
            yield "end", end_ms
        else:
            yield "turn_ms", onset_ms
            yield "barge_in_stop_ms", end_ms
    yield "talk_over_ms", _talk_over_ms(call, audible) - call.talk_over_ms


def _levels(wave: Wave) -> Wave:
    """The energy in each band around every hop: (hops, bands)."""
    shape = np.hanning(_WINDOW + 2)[1:-1]
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(wave, (_WINDOW // 2, _WINDOW)), _WINDOW
    )
    edges = np.searchsorted(np.fft.rfftfreq(_WINDOW, 1 / CALLER_RATE_HZ), _BAND_EDGES_HZ)
    edges = np.unique(edges)
    spectrum = np.abs(np.fft.rfft(frames[: wave.size : _HOP] * shape, axis=1)) ** 2
    return np.asarray(np.add.reduceat(spectrum[:, : edges[-1]], edges[:-1], axis=1))


def _cut(call: SpokenCall) -> int:
    """How much later than it was the answer seems to be cut, in samples of the recording.

    That one is played to its end this ear is told, too.
    """
    scale = CALLER_RATE_HZ // _COMPARED_HZ
    heard = _resampled(call.recording[:, 1] / 32768, CALLER_RATE_HZ)
    sent = np.zeros(heard.size)
    at = call.at[1] // scale
    answer = _resampled(call.sent[1] / 32768, SERVER_HZ)[: heard.size - at]
    sent[at : at + answer.size] = answer
    cut = call.cut // scale
    if cut >= at + answer.size:
        return 0
    rest = heard - np.where(np.arange(heard.size) < cut, sent, 0)
    low, high = max(0, cut - _NEAR), min(heard.size, cut + _NEAR, at + answer.size)
    taps = _whitening(rest[low : cut + _NEAR])
    one, other, noise = (np.convolve(wave, taps)[low:high] for wave in (sent, heard, rest))
    level = np.convolve(np.square(noise), np.ones(_LOCAL) / _LOCAL, "same") + 1e-12
    nats = _FREE * (np.square(other) - np.square(other - one)) / (2 * level)
    sums = np.concatenate(([0.0], np.cumsum(nats)))
    likely = np.cumsum(np.exp(sums - sums.max()))
    place = low + int(np.searchsorted(likely, likely[-1] / 2))
    loud = active_level.loud(call.sent[1], SERVER_HZ) * CALLER_RATE_HZ / SERVER_HZ + call.at[1]
    before = loud[loud < place * scale]
    last = round(float(before[-1])) + 1 if before.size else call.at[1]
    return last - call.heard[1][-1][1]


def _whitening(noise: Wave) -> Wave:
    """The filter that makes a noise white, within the line's band."""
    size = 1 << (2 * noise.size).bit_length()
    power = np.abs(np.fft.rfft(noise, size)) ** 2
    hz = np.fft.rfftfreq(size, 1 / _COMPARED_HZ)
    lowest, highest = _INSIDE_HZ
    power[hz < lowest] = power[(hz >= lowest) & (hz < 2 * lowest)].mean()
    power[hz > highest] = power[(hz > 0.8 * highest) & (hz <= highest)].mean()
    like = np.fft.irfft(power)[: _ORDER + 1]
    like[0] *= 1.001
    lags = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    return np.concatenate(([1.0], -np.linalg.solve(like[lags], like[1:])))


def _resampled(wave: Wave, rate_hz: int) -> Wave:
    return np.asarray(soxr.resample(wave, rate_hz, _COMPARED_HZ))


def _ms(samples: int) -> float:
    return samples * 1000 / CALLER_RATE_HZ
