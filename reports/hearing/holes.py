"""Holes in speech by its sound alone, where nobody knows what was sent.

Packets that never came are silence that sets in and ends between two samples, and lasts as long as
packets do: a multiple of 20 ms. Speech itself falls silent, too, before a p, t or k, and synthetic
speech entirely; but it fades before, and lasts as long as it likes. So a silence between loud
samples is a hole for sure. Where most of these lie on one grid of packets, one between fainter
samples is a hole, too, if it lies on that grid and is as silent as they are: a pause does neither
but by chance.

What a telephone conceals (it plays the sound before it on) is not found, nor are packets of 10 or
30 ms.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import active_level

Samples = NDArray[np.int16]

_PACKET_MS, _MOST_PACKETS = 20, 20
_SILENT = 16  # G.711's least step lies at 8, in 16 bits
_BESIDE_MS = 2
_LONGER_MS, _BELOW_ACTIVE_DB = 0.8, 12.0  # the sound beside it may cross zero just there
_ON_GRID_LONGER_MS, _ON_GRID_BELOW_DB = 2.0, 35.0  # a faint one stays near it for longer
_FEWEST, _MOSTLY = 2, 0.6  # of the holes that are sure: a grid of packets


class _Silence(NamedTuple):
    """A silence as long as so many packets and a little."""

    first: int
    past: int
    longer: int
    """Samples, than they are."""
    beside: float
    """How loud the fainter of both sides is, effective value."""


def holes(
    samples: NDArray[np.int16], rate_hz: int, speech: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Silences of 20 to 400 ms amid speech that begin and end abruptly: (first, just after last).

    Args:
        samples: one channel.
        rate_hz: its rate.
        speech: its stretches of speech, to be looked into with the pauses between them.
    """
    level_dbfs = active_level.active_level_dbfs(samples, rate_hz)
    if level_dbfs is None or not speech:
        return []
    active = 32768 * 10 ** (level_dbfs / 20)
    begin, end = speech[0][0], speech[-1][1]
    amid = [one for one in _silences(samples, rate_hz) if begin <= one.first and one.past <= end]
    loud, longest = active * 10 ** (-_BELOW_ACTIVE_DB / 20), rate_hz * _LONGER_MS / 1000
    sure = [one for one in amid if one.longer <= longest and one.beside >= loud]
    packet = rate_hz * _PACKET_MS // 1000
    grid = _grid(sure, packet)
    found = {(one.first, one.past) for one in sure}
    if grid is not None:
        least = active * 10 ** (-_ON_GRID_BELOW_DB / 20)
        on_grid = [one for one in amid if (grid - one.first) % packet <= one.longer]
        louds = [_spread(samples, _placed(one, grid, packet)) for one in on_grid if one in sure]
        for one in on_grid:
            place = _placed(one, grid, packet)
            if one not in sure and one.beside >= least and _spread(samples, place) <= max(louds):
                found.add(place)
    return sorted(found)


def _silences(samples: Samples, rate_hz: int) -> Iterator[_Silence]:
    packet, beside = (rate_hz * ms // 1000 for ms in (_PACKET_MS, _BESIDE_MS))
    silent = (samples >= -_SILENT) & (samples <= _SILENT)
    changes = np.flatnonzero(silent[1:] != silent[:-1]) + 1  # a mask: an hour has many samples
    firsts = changes[:-1][silent[changes[:-1]]]
    lengths = np.diff(changes)[silent[changes[:-1]]]
    packets, longer = lengths // packet, lengths % packet
    longest = rate_hz * _ON_GRID_LONGER_MS / 1000
    fits = (packets >= 1) & (packets <= _MOST_PACKETS) & (longer <= longest)
    for place in np.flatnonzero(fits).tolist():
        first = int(firsts[place])
        past = first + int(lengths[place])
        sides = samples[max(0, first - beside) : first], samples[past : past + beside]
        yield _Silence(first, past, int(longer[place]), min(_rms(side) for side in sides))


def _grid(sure: Sequence[_Silence], packet: int) -> int | None:
    """Where packets begin, modulo their length, if most of the holes agree, and two at least."""
    agree = np.zeros(packet, np.int64)
    for one in sure:
        agree[(one.first + np.arange(one.longer + 1)) % packet] += 1
    best = int(agree.argmax())
    return best if agree[best] >= max(_FEWEST, _MOSTLY * len(sure)) else None


def _placed(one: _Silence, grid: int, packet: int) -> tuple[int, int]:
    """The packets of a silence that lies on the grid."""
    first = one.first + (grid - one.first) % packet
    return first, first + (one.past - one.first) // packet * packet


def _spread(samples: Samples, place: tuple[int, int]) -> int:
    """How far apart samples of a hole are: packets that never came are one and the same."""
    return int(np.ptp(samples[slice(*place)]))


def _rms(side: NDArray[np.int16]) -> float:
    wave = side.astype(np.float64)
    return float(np.sqrt(wave.dot(wave) / wave.size)) if wave.size else 0.0
