"""The noise floor of a recording, and the threshold above which a hop is active."""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from callerside.audio import QUIETEST_HEARD_DBFS
from callerside.reports.hearing.frame import HOP_MS

_FULL_SCALE = 32768.0
_LOUDEST_FLOOR_DBFS = -32.0  # a "floor" above this is not noise any more, it is talk without pauses
_ABOVE_FLOOR_DB = 9.0
_FLOOR_BLOCK_HOPS = 40
_FLOOR_BLOCKS = 5  # the floor looks back 5 blocks of 400 ms
_OPENING_HOPS = 10
_STEADY_DB = 7.0
"""A call begins amid noise if no two of its first hops are further apart: what is there then is
the floor at once, and no speech for as long as the floor looks back. A voice that begins there
rises by more."""
_SMOOTHING = 0.7  # of the energy that the floor is taken from: a time constant of about 30 ms


class NoiseFloor:
    """The noise floor, and the threshold (energy of a hop) that follows from it."""

    def __init__(self, hop: int, floor_dbfs: float | None) -> None:
        self.lowest_threshold = _energy(QUIETEST_HEARD_DBFS, hop)
        self._factor = 10 ** (_ABOVE_FLOOR_DB / 10)
        self._highest_floor = _energy(_LOUDEST_FLOOR_DBFS, hop)
        known = 0.0 if floor_dbfs is None else _energy(floor_dbfs, hop)
        self._blocks = deque([known] * _FLOOR_BLOCKS, _FLOOR_BLOCKS)
        self._smooth = known
        self._lowest = math.inf
        self._in_block = 0
        self._opening: list[float] | None = [] if floor_dbfs is None else None
        self.threshold = 0.0
        self._set_threshold()

    @property
    def steady_hops(self) -> int:
        """For so many hops the threshold stays what it is."""
        if self._opening is not None:
            return _OPENING_HOPS - len(self._opening)
        return _FLOOR_BLOCK_HOPS - self._in_block

    def update(self, energy: float) -> None:
        """One more hop that may be noise: its energy."""
        self.update_all([energy])

    def update_all(self, energies: Sequence[float]) -> None:
        """Several more: `steady_hops` at most."""
        smooth, lowest = self._smooth, self._lowest
        for energy in energies:
            smooth += (1 - _SMOOTHING) * (energy - smooth)
            if smooth < lowest:
                lowest = smooth
        self._smooth, self._lowest = smooth, lowest
        self._in_block += len(energies)
        if self._in_block == _FLOOR_BLOCK_HOPS:
            self._blocks.append(lowest)
            self._lowest = math.inf
            self._in_block = 0
            self._set_threshold()
        if self._opening is not None:
            self._open(self._opening, energies)

    def _open(self, opening: list[float], energies: Sequence[float]) -> None:
        """Some more of the call's first hops."""
        opening += energies
        if len(opening) < _OPENING_HOPS:
            return
        self._opening = None
        quietest = min(opening)
        if max(opening) <= quietest * 10 ** (_STEADY_DB / 10):
            self._blocks.extend([quietest] * _FLOOR_BLOCKS)
            self._smooth = self._lowest = quietest
            self._set_threshold()

    def update_silent(self, hops: int) -> None:
        """The next hops are digital silence."""
        while hops:
            step = min(hops, self.steady_hops)
            self.update_all([0.0] * step)
            hops -= step

    def _set_threshold(self) -> None:
        floor = min(min(self._blocks), self._highest_floor)
        self.threshold = max(self.lowest_threshold, floor * self._factor)


def _energy(dbfs: float, samples: int) -> float:
    """The energy of so many samples at a level."""
    return float(samples * _FULL_SCALE**2 * 10 ** (dbfs / 10))


def opening_floor_dbfs(samples: NDArray[np.int16], rate_hz: int) -> float | None:
    """The floor of a recording's first two seconds: afterwards it is known from the start."""
    hop = rate_hz * HOP_MS // 1000
    count = min(samples.size // hop, _FLOOR_BLOCK_HOPS * _FLOOR_BLOCKS)
    if count < _FLOOR_BLOCK_HOPS:
        return None
    rows = samples[: count * hop].reshape(count, hop).astype(np.float32)
    blocks = np.vecdot(rows, rows)[: count // 4 * 4].reshape(-1, 4).mean(axis=1)
    lowest = float(blocks.min()) / hop / _FULL_SCALE**2
    return 10 * math.log10(lowest) if lowest > 0 else None
