"""Speech by level: what is clearly louder than the background of the last second and a half."""

import math
from collections import deque
from itertools import repeat

import numpy as np

# The energy judge.
_WINDOW_FRAMES = 48  # one and a half seconds


_MARGIN_DB = 10.0


_LOWEST_DBFS = -42.0


_HIGHEST_DBFS = -28.0


_SLOPE_DB = 4.0


_FULL_SCALE_SQUARED = 32768.0**2


_SILENCE_DBFS = -120.0


class EnergyJudge:
    """Speech is what is clearly louder than the background of the last second and a half."""

    def __init__(self) -> None:
        self.restart(24_000)

    def restart(self, rate_hz: int) -> None:  # noqa: ARG002 - levels know no rate
        """See `Judge.restart`."""
        self._levels = deque([0.0], maxlen=_WINDOW_FRAMES)
        self._background_dbfs = 0.0

    def probability(self, frame: bytes | bytearray) -> float:
        """See `Judge.probability`: one half at the background plus 10 dB, within bounds."""
        return self.probabilities(frame, len(frame))[0]

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """See `Judge.probabilities`."""
        if pcm == bytes(len(pcm)):  # the background, from now on
            self._background_dbfs = _SILENCE_DBFS
            self._levels.extend(repeat(_SILENCE_DBFS, len(pcm) // frame_bytes))
            return [0.0] * (len(pcm) // frame_bytes)
        return [self._judge(level_dbfs) for level_dbfs in _levels_dbfs(pcm, frame_bytes)]

    def _judge(self, level_dbfs: float) -> float:
        leaving_dbfs = self._levels[0]
        self._levels.append(level_dbfs)
        if level_dbfs <= self._background_dbfs:
            self._background_dbfs = level_dbfs
        elif leaving_dbfs == self._background_dbfs:
            self._background_dbfs = min(self._levels)
        if level_dbfs < _LOWEST_DBFS - 20:
            return 0.0
        even_dbfs = self._background_dbfs + _MARGIN_DB
        even_dbfs = min(max(even_dbfs, _LOWEST_DBFS), _HIGHEST_DBFS)
        return 1 / (1 + math.exp((even_dbfs - level_dbfs) / _SLOPE_DB))


def _levels_dbfs(pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
    """Root-mean-square level of each frame; -120 for digital silence. Quick: it hears all audio."""
    rows = np.frombuffer(pcm, np.int16).reshape(-1, frame_bytes // 2).astype(np.float32)
    full_scale = frame_bytes // 2 * _FULL_SCALE_SQUARED
    return [
        10 * math.log10(energy / full_scale) if energy else _SILENCE_DBFS
        for energy in np.vecdot(rows, rows).tolist()
    ]
