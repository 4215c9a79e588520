"""What a beginning and an end are: one definition for every metric.

A sound begins with the first, and ends after the last, of those samples of its clean source that
are within 30 dB of the source's active speech level (ITU-T P.56, method B). The clean source is
what was spoken or sent, before noise, echo, gain or codec. The definition is never changed to fit
what a detector finds; docs/metrics.md has it for readers.
"""

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

BELOW_ACTIVE_DB = 30.0
"""How far below the active level a sample may be and still be part of the sound."""

_TIME_CONSTANT_S = 0.03  # of the envelope, and these three are P.56's own
_HANGOVER_S = 0.2
_MARGIN_DB = 15.9
_ENVELOPE_HZ = 1000  # P.56 asks for at least 694 values a second
_STEP_DB = 20 * math.log10(2)
_QUIETEST_DBFS = -15 * _STEP_DB
_FULL_SCALE = 32768.0


def active_level_dbfs(samples: Samples, rate_hz: int) -> float | None:
    """The active speech level of a sound, in dB against full scale; None where it is silent.

    Thresholds lie 6 dB apart, as in the recommendation, and the level is where the line between
    two of them is 15.9 dB above its threshold.
    """
    wave = samples.astype(np.float32) / np.float32(_FULL_SCALE)
    total = float(np.vecdot(wave, wave))  # `dot` would wake threads for so little
    if not total:
        return None
    step = max(1, rate_hz // _ENVELOPE_HZ)
    envelope = _envelope(np.abs(wave), step, rate_hz)
    before: tuple[float, float] | None = None
    hangover = round(_HANGOVER_S * rate_hz / step)
    for number in range(16):
        threshold_dbfs = _QUIETEST_DBFS + number * _STEP_DB
        active = _active_samples(envelope >= 10 ** (threshold_dbfs / 20), hangover) * step
        if not active:
            break
        level_dbfs = 10 * math.log10(total / min(active, wave.size))
        above_db = level_dbfs - threshold_dbfs
        if above_db <= _MARGIN_DB:
            if before is None:
                return level_dbfs
            earlier_dbfs, earlier_db = before
            share = (earlier_db - _MARGIN_DB) / (earlier_db - above_db)
            return earlier_dbfs + share * (level_dbfs - earlier_dbfs)
        before = level_dbfs, above_db
    return None if before is None else before[0]


def edges(samples: Samples, rate_hz: int) -> tuple[int, int] | None:
    """Where a clean sound begins, and just after it ends; None where it is silent."""
    level_dbfs = active_level_dbfs(samples, rate_hz)
    return None if level_dbfs is None else edges_at(samples, level_dbfs)


def edges_at(samples: Samples, level_dbfs: float) -> tuple[int, int] | None:
    """As `edges`, at an active level that is known."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= least_sample(level_dbfs))
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else None


def voiced(samples: Samples, rate_hz: int, *, pause_ms: float) -> list[tuple[int, int]]:
    """The stretches of a clean sound that no pause of `pause_ms` parts: (first, just after last).

    The first begins where `edges` says that the sound begins, and the last ends where it ends.
    """
    level_dbfs = active_level_dbfs(samples, rate_hz)
    if level_dbfs is None:
        return []
    return stretches(samples, level_dbfs, round(pause_ms * rate_hz / 1000))


def stretches(samples: Samples, level_dbfs: float, pause: int) -> list[tuple[int, int]]:
    """As `voiced`, at an active level that is known, with a pause in samples."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= least_sample(level_dbfs))
    return without_pauses(loud, pause)


def loud(samples: Samples, rate_hz: int) -> NDArray[np.int64]:
    """Which samples of a clean sound are part of it: those within 30 dB of its active level."""
    level_dbfs = active_level_dbfs(samples, rate_hz)
    if level_dbfs is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.abs(samples.astype(np.int32)) >= least_sample(level_dbfs))


def without_pauses(places: NDArray[np.int64], pause: int) -> list[tuple[int, int]]:
    """Stretches of samples that no pause of so many parts: (first, just after last)."""
    if not places.size:
        return []
    breaks = np.flatnonzero(np.diff(places) > pause)
    firsts = [int(places[0]), *places[breaks + 1].tolist()]
    lasts = [*places[breaks].tolist(), int(places[-1])]
    return [(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]


def least_sample(level_dbfs: float) -> float:
    """The least size of a sample that is part of a sound of this active level, in int16's units."""
    return float(_FULL_SCALE * 10 ** ((level_dbfs - BELOW_ACTIVE_DB) / 20))


def _envelope(rectified: NDArray[np.float32], step: int, rate_hz: int) -> NDArray[np.float64]:
    """P.56's envelope: exponential averaging, twice; `_ENVELOPE_HZ` values a second."""
    whole = rectified.size // step * step
    means = rectified[:whole].reshape(-1, step).mean(axis=1)
    keep = math.exp(-step / (_TIME_CONSTANT_S * rate_hz))
    taken = 1 - keep
    values = means.tolist()
    once = twice = values[0] if values else 0.0
    for place in range(1, len(values)):  # as two functions a value it took half as long again
        once = keep * once + taken * values[place]
        twice = keep * twice + taken * once
        values[place] = twice
    return np.array(values, np.float64)


def _active_samples(above: NDArray[np.bool_], hangover: int) -> int:
    """How many values are above a threshold, or not longer than the hangover after one that is."""
    places = np.flatnonzero(above)
    if not places.size:
        return 0
    to_next = np.diff(places, append=above.size)
    return int(np.minimum(to_next, hangover + 1).sum())
