"""Where a piece of one recording is found in another: normalised cross-correlation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIKE = 0.5
"""Correlation from which two pieces are the same sound (G.711 and resampling leave 0.95)."""

_BLOCK = 4096
"""Samples that are transformed at once, if a piece is not too long for them."""
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
    return Searched(within).likenesses(piece)


class Searched:
    """What pieces are looked for in, one after the other: its own half of that is done once."""

    def __init__(self, within: NDArray[Any]) -> None:
        self._samples = within.astype(np.float64)
        self._energy = np.concatenate(([0.0], np.cumsum(np.square(self._samples))))
        self._spectra: dict[int, NDArray[np.complex128]] = {}

    def likenesses(
        self, piece: NDArray[Any], first: int = 0, past: int | None = None
    ) -> NDArray[np.float64]:
        """How alike `piece` (-1 to 1) and every stretch from `first` to `past` are, as long as it.

        A piece that is much shorter is multiplied with overlapping blocks of the other (overlap-
        save), which stay in the processor's cache.
        """
        size = piece.size
        past = self._samples.size if past is None else past
        a = piece.astype(np.float64)
        energy = float(a.dot(a))
        if past - first < size or not energy:
            return np.zeros(0)
        sums = self._energy[first : past + 1]
        local = sums[size:] - sums[:-size]
        floor = max(1.0, float(local.max()) * _FAINT)
        product = self._products(a)[first : past + 1 - size]
        result: NDArray[np.float64] = product / np.sqrt(energy * np.maximum(local, floor))
        return result

    def _products(self, piece: NDArray[np.float64]) -> NDArray[np.float64]:
        block = max(_BLOCK, 4 << (piece.size - 1).bit_length())
        step = block * 3 // 4  # what wraps round falls on the last quarter
        if block >= self._samples.size:
            block = step = fast_length(self._samples.size)  # and here on what is not asked for
        spectra = self._spectra_of(block, step)
        products = np.fft.irfft(spectra * np.conj(np.fft.rfft(piece, block)), block, axis=1)
        return products[:, :step].ravel()

    def _spectra_of(self, block: int, step: int) -> NDArray[np.complex128]:
        """Of blocks of this length, each `step` samples after the one before."""
        if block not in self._spectra:
            count = -(-self._samples.size // step)
            padded = np.zeros((count - 1) * step + block)
            padded[: self._samples.size] = self._samples
            blocks = np.lib.stride_tricks.sliding_window_view(padded, block)[::step]
            self._spectra[block] = np.fft.rfft(blocks, axis=1)
        return self._spectra[block]


def fast_length(least: int) -> int:
    """A length for an FFT, of small factors and not much longer than `least`."""
    return min(odd << (-(-least // odd) - 1).bit_length() for odd in (1, 3, 5, 9, 15))
