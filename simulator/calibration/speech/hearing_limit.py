"""What no ear does better in noise that does not know the words, as of any other agent.

The edges of a sound are those of its clean source, and noise hides what is fainter than it. An ear
is made up that is told more than any can know, and measured on the calls of the calibration, for
its table: how loud the noise usually is in each of twenty bands. It hears the agent in all of the
16 ms in which the clean sound alone is as loud as that in any of them. All that it tells is then
moved by what makes its p95 least. A real ear hears both together, and noise that varies: it needs
more than that.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import active_level
from callerside.simulator.calibration.speech.conditions import coded
from callerside.simulator.calibration.speech.spoken_call import SpokenCall, both_ms
from callerside.simulator.caller.recorder import CALLER_RATE_HZ

Wave = NDArray[np.float64]
Span = tuple[int, int]
Limit = Literal["unknown, at best"]
LIMITS: tuple[Limit, ...] = ("unknown, at best",)

_WINDOW, _HOP = CALLER_RATE_HZ * 16 // 1000, CALLER_RATE_HZ // 400
_BAND_EDGES_HZ = (*range(60, 1000, 125), *np.geomspace(1000, 3600, 12).tolist())
_PAUSE = CALLER_RATE_HZ * 60 // 1000
_MOST = 0.95


def at_best(call: SpokenCall) -> Iterator[tuple[Limit, str, float | None]]:
    """(Whose, metric, error in ms) of a call with noise; nothing of any other.

    Errors are as heard: see `moved`.
    """
    if not call.noise.any() or call.condition.noise in ("hum", "comfort"):
        return
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


def _ms(samples: int) -> float:
    return samples * 1000 / CALLER_RATE_HZ
