"""Where a piece of one recording is found in another: normalised cross-correlation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.5
"""Correlation from which two pieces are the same sound (G.711 and resampling leave 0.95)."""

_FAINT = 1e-4
"""Against the loudest stretch: where there is next to no sound, nothing is like anything."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where a piece was found: its first sample's place, and how alike they are (up to 1)."""

    offset: int
    correlation: float

    @property
    def found(self) -> bool:
        """Whether it is the same sound at all."""
        return self.correlation >= ALIKE


def find(piece: NDArray[Any], within: NDArray[Any]) -> Match:
    """The best place of `piece` in `within`, both one channel; none if `within` is shorter."""
    likeness = likenesses(piece, within)
    if not likeness.size:
        return Match(0, 0.0)
    best = int(likeness.argmax())
    return Match(best, float(likeness[best]))


def likenesses(piece: NDArray[Any], within: NDArray[Any]) -> NDArray[np.float64]:
    """How alike `piece` (-1 to 1) and every stretch of `within` are that is as long."""
    a = piece.astype(np.float64)
    b = within.astype(np.float64)
    energy = float(a.dot(a))
    if b.size < a.size or not energy:
        return np.zeros(0)
    size = fast_length(b.size)  # what wraps round it falls on places that are not asked for
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    sums = np.concatenate(([0.0], np.cumsum(b * b)))
    local = sums[a.size :] - sums[: -a.size]
    floor = max(1.0, float(local.max()) * _FAINT)
    result: NDArray[np.float64] = product[: local.size] / np.sqrt(energy * np.maximum(local, floor))
    return result


def fast_length(least: int) -> int:
    """A length for an FFT, of small factors and not much longer than `least`."""
    return min(odd << (-(-least // odd) - 1).bit_length() for odd in (1, 3, 5, 9, 15))
