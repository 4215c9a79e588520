"""Where a piece of one recording is found in another: normalised cross-correlation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.5
"""Correlation from which two pieces are the same sound (G.711 and resampling leave 0.95)."""


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
    """The best place of `piece` in `within`, which is at least as long; both one channel."""
    if piece.size == 0 or within.size < piece.size:
        return Match(0, 0.0)
    a = piece.astype(np.float64)
    b = within.astype(np.float64)
    energy = float(a.dot(a))
    if not energy:
        return Match(0, 0.0)
    size = 1 << (b.size + a.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    sums = np.concatenate(([0.0], np.cumsum(b * b)))
    local = sums[a.size :] - sums[: -a.size]
    floor = max(1.0, float(local.max()) * 1e-4)
    likeness = product[: local.size] / np.sqrt(energy * np.maximum(local, floor))
    best = int(likeness.argmax())
    return Match(best, float(likeness[best]))
