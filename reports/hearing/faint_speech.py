"""How likely it is that somebody speaks at each moment, where noise hides much of the voice.

What fades into noise stands out of it in no frame. That it goes on is told by all bands together,
by what is before and behind it, and by how sharply all of it stops. How much each of these says was
learnt (`tools/learn_speech.py`), from recordings that are made as those of `callerside calibrate`
are: voices and people, none of the third that is held out, under noise of many kinds, none of it
the calibration's. What was learnt lies in `faint_speech.npz`: three layers of numbers, 50 kB.

Everything is measured against the recording's own background, so that level and kind of noise say
nothing by themselves.
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Flags = NDArray[np.bool_]

BANDS = 19
"""Of `retrospect`, at 16 kHz and more; a recording of less has none at the top."""
FARTHEST_HOPS = 120
"""From sure speech: beyond, there is none that belongs to it."""

_WINDOWS = (
    (-60, -40), (-40, -28), (-28, -20), (-20, -14), (-14, -9), (-9, -5), (-5, -2), (-2, 0), (0, 1),
    (1, 3), (3, 6), (6, 10), (10, 15), (15, 21), (21, 29), (29, 41), (41, 61),
)  # fmt: skip
"""Hops around each, over which bands are averaged: the farther, the more."""
_AROUND = 64
_FINE = 10  # hops on either side that are looked at one by one,
_FINE_BANDS = (0, 4, 8, 11, 15)  # in these groups of bands
_SPREAD_DB = 1.0  # at least
_SPREADS = (-4.0, 12.0)
_OF_ONE_HOP_DB = 6.0  # by so much the level of a single hop of noise varies
_FINE_SPREADS = (-1.0, 5.0)
_FAR_HOPS = 200
_AT_ONCE = 4096
_SURELY_NOT = -8.0  # nats


def log_odds(evidence: "Evidence") -> Wave:
    """Of each hop, how much likelier it lies within an utterance than outside, in nats."""
    found = np.full(evidence.hops, _SURELY_NOT, np.float32)
    for first in range(0, evidence.near.size, _AT_ONCE):
        some = evidence.near[first : first + _AT_ONCE]
        found[some] = _said_of(evidence.of(some))
    return found


class Evidence:
    """What there is to tell by.

    Args:
        each_db: the level of each hop of 5 ms in each band: (hops, bands).
        smooth_db: the same over five hops.
        background: hops that are surely none; there are some.
        speech: hops that stand out; there are some.
        usable: neither a tone nor anything else that is no voice.
    """

    def __init__(
        self, each_db: Wave, smooth_db: Wave, background: Flags, speech: Flags, usable: Flags
    ) -> None:
        self.hops = len(each_db)
        usual = smooth_db[background]
        middle = np.median(usual, axis=0)
        spread = np.maximum(_SPREAD_DB, 1.4826 * np.median(np.abs(usual - middle), axis=0))
        above = ((smooth_db - middle) / spread).clip(*_SPREADS) / 4
        above[~usable] = 0
        above = _of_all_bands(above)
        self._sums = np.cumsum(
            np.pad(above, ((_AROUND + 1, _AROUND), (0, 0))), axis=0, dtype=np.float64
        )
        self._voice = above[speech].mean(axis=0)
        fine = ((each_db - middle) / _OF_ONE_HOP_DB).clip(*_FINE_SPREADS)
        fine[~usable] = 0
        widths = np.diff((*_FINE_BANDS, BANDS))
        grouped = np.add.reduceat(_of_all_bands(fine), _FINE_BANDS, axis=1) / widths
        self._fine = np.pad(grouped, ((_FINE, _FINE), (0, 0)))
        before, behind = _hops_from(speech), _hops_from(speech[::-1])[::-1]
        self._far = np.stack(
            [np.log1p(before) / 3, np.log1p(behind) / 3, speech.astype(np.float64)], axis=1
        )
        self.near: NDArray[np.intp] = np.flatnonzero(
            usable & (np.minimum(before, behind) < FARTHEST_HOPS)
        )
        """Hops that may belong to what stands out."""

    def of(self, hops: NDArray[np.intp]) -> Wave:
        """(hops, what is known of each)."""
        sums, at = self._sums, hops + _AROUND
        around = [(sums[at + past] - sums[at + low]) / (past - low) for low, past in _WINDOWS]
        fine = self._fine[hops[:, None] + np.arange(2 * _FINE + 1)].reshape(hops.size, -1)
        voice = np.broadcast_to(self._voice, (hops.size, BANDS))
        return np.concatenate([*around, self._far[hops], voice, fine], axis=1).astype(np.float32)


def _said_of(known: Wave) -> Wave:
    """In nats."""
    learnt = _learnt()
    one = np.maximum(known @ learnt["w1"] + learnt["b1"], 0)
    two = np.maximum(one @ learnt["w2"] + learnt["b2"], 0)
    return np.asarray((two @ learnt["w3"] + learnt["b3"])[:, 0], np.float32)


@cache
def _learnt() -> dict[str, Wave]:
    with np.load(Path(__file__).with_suffix(".npz")) as kept:
        return {name: kept[name].astype(np.float32) for name in kept.files}


def _of_all_bands(values: Wave) -> Wave:
    """With nothing in the bands that a recording of a lower rate does not have."""
    return np.pad(values, ((0, 0), (0, BANDS - values.shape[1])))


def _hops_from(speech: Flags) -> NDArray[np.float64]:
    """How many hops ago there was speech."""
    places = np.arange(speech.size)
    last = np.maximum.accumulate(np.where(speech, places, -_FAR_HOPS))
    return np.minimum(places - last, _FAR_HOPS).astype(np.float64)
