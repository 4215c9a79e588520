"""The keys that somebody presses, heard by their tones (DTMF; ITU-T Q.23, limits after Q.24)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from callerside.speech.dtmf_tones import TONES_HZ

_HOP_MS, _FRAMES_A_HOP = 10, 2  # frames of 20 ms: row frequencies lie 73 Hz apart
_LEAST_HOPS = 3  # a key sounds for 40 ms at least: three frames lie wholly in it
_LEAST_DBFS = -40.0
_SHARE = 0.8  # of a frame's energy, that is the two tones': of speech it is less
_MOST_TWIST = 10 ** (9 / 10)  # one tone above the other, in energy
_BLOCK_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was heard in samples `start` to `end`, to 10 ms."""

    key: str
    start: int
    end: int


def keys(samples: NDArray[np.int16], rate_hz: int) -> list[Key]:
    """The keys in one channel, in order.

    Args:
        samples: at a rate of 8000 Hz or more, a multiple of 100.
        rate_hz: theirs.
    """
    hop = rate_hz * _HOP_MS // 1000
    found: list[str] = []
    for block in _blocks(samples, hop):
        found += _in_frames(block, rate_hz)
    return [*_runs(found, hop)]


def _blocks(samples: NDArray[np.int16], hop: int) -> Iterator[NDArray[np.float32]]:
    """Frames of two hops, a hop apart, so many at a time."""
    count = samples.size // hop - _FRAMES_A_HOP + 1
    for first in range(0, max(0, count), _BLOCK_FRAMES):
        past = min(count, first + _BLOCK_FRAMES)
        piece = samples[first * hop : (past + _FRAMES_A_HOP - 1) * hop].astype(np.float32)
        rows = piece.reshape(-1, hop)
        yield np.concatenate([rows[:-1], rows[1:]], axis=1)


def _in_frames(frames: NDArray[np.float32], rate_hz: int) -> list[str]:
    """The key of each frame, or nothing."""
    length = frames.shape[1]
    energy = np.vecdot(frames, frames)
    found = [""] * len(frames)
    loud = np.flatnonzero(energy > length * (32768 * 10 ** (_LEAST_DBFS / 20)) ** 2)
    if not loud.size:
        return found
    rows_hz = sorted({row for row, _ in TONES_HZ.values()})
    columns_hz = sorted({column for _, column in TONES_HZ.values()})
    angle = 2 * math.pi * np.outer([*rows_hz, *columns_hz], np.arange(length)) / rate_hz
    window = np.hanning(length)
    waves = np.concatenate([np.cos(angle) * window, np.sin(angle) * window]).astype(np.float32)
    seen = frames[loud] @ waves.T
    tones = len(rows_hz) + len(columns_hz)
    # A tone's energy, from its product with a window whose mean is a half.
    powers = (seen[:, :tones] ** 2 + seen[:, tones:] ** 2) * (8 / length)
    rows, columns = powers[:, : len(rows_hz)], powers[:, len(rows_hz) :]
    row, column = rows.max(axis=1), columns.max(axis=1)
    is_key = (row + column >= _SHARE * energy[loud]) & (
        np.maximum(row, column) <= _MOST_TWIST * np.minimum(row, column)
    )
    names = {pair: key for key, pair in TONES_HZ.items()}
    for place in np.flatnonzero(is_key).tolist():
        pair = rows_hz[int(rows[place].argmax())], columns_hz[int(columns[place].argmax())]
        found[int(loud[place])] = names[pair]
    return found


def _runs(found: list[str], hop: int) -> Iterator[Key]:
    first = 0
    for number in range(1, len(found) + 1):
        if number < len(found) and found[number] == found[first]:
            continue
        if found[first] and number - first >= _LEAST_HOPS:
            yield Key(found[first], first * hop, (number + 1) * hop)
        first = number
