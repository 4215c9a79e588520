"""Holes in speech by its sound alone, where nobody knows what was sent.

Packets that never came are silence that sets in and ends between two samples, and lasts as long as
packets do: a multiple of 20 ms. Speech itself falls silent, too, before a p, t or k, and synthetic
speech entirely; but it fades before, and lasts as long as it likes. What a telephone conceals (it
plays the sound before it on) is not found, nor are packets of 10 or 30 ms.
"""

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import active_level

_PACKET_MS, _MOST_PACKETS = 20, 20
_LONGER_MS = 0.8  # the sound beside it may cross zero just there
_SILENT = 16  # G.711's least step lies at 8, in 16 bits
_BESIDE_MS = 2
_BELOW_ACTIVE_DB = 12.0


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
    loud = 32768 * 10 ** ((level_dbfs - _BELOW_ACTIVE_DB) / 20)
    beside = rate_hz * _BESIDE_MS // 1000
    silent = (samples >= -_SILENT) & (samples <= _SILENT)
    changes = np.flatnonzero(silent[1:] != silent[:-1]) + 1  # a mask: an hour has many samples
    firsts = changes[:-1][silent[changes[:-1]]]
    lengths = np.diff(changes)[silent[changes[:-1]]]
    packet = rate_hz * _PACKET_MS // 1000
    packets, longer = lengths // packet, lengths % packet
    fits = (packets >= 1) & (packets <= _MOST_PACKETS) & (longer <= rate_hz * _LONGER_MS / 1000)
    found = []
    for place in np.flatnonzero(fits).tolist():
        first = int(firsts[place])
        past = first + int(lengths[place])
        sides = samples[max(0, first - beside) : first], samples[past : past + beside]
        if all(side.size and _rms(side) >= loud for side in sides):
            found.append((first, past))
    bounds = [speech[0][0], speech[-1][1]]
    return [hole for hole in found if bounds[0] <= hole[0] and hole[1] <= bounds[1]]


def _rms(side: NDArray[np.int16]) -> float:
    wave = side.astype(np.float64)
    return float(np.sqrt(wave.dot(wave) / wave.size))
