"""Ten milliseconds of audio, and the exact samples at which sound begins and ends in them."""

import math

import numpy as np
from numpy.typing import NDArray

HOP_MS = 10

Wave = NDArray[np.float32]


class AnalysisFrame:
    """Ten milliseconds of audio, and what was found in it."""

    __slots__ = ("active", "index", "row", "threshold")

    def __init__(self, index: int, row: Wave, active: bool, threshold: float) -> None:
        self.index = index
        self.row = row
        self.active = active
        self.threshold = threshold

    def loud(self) -> NDArray[np.bool_]:
        """Which of its samples stand out.

        A sine whose energy is just the threshold peaks at sqrt(2) times its effective value; noise
        at the floor stays below that (4 standard deviations).
        """
        return np.abs(self.row) > math.sqrt(2 * self.threshold / self.row.size)


def silent(frame: AnalysisFrame) -> AnalysisFrame:
    """The same hop, in which nothing is that counts."""
    return AnalysisFrame(frame.index, frame.row, False, frame.threshold)


def onset_of(before: AnalysisFrame | None, first: AnalysisFrame) -> int:
    """The first sample that stands out, in the first active hop or at the end of the one before."""
    if before is not None and before.index == first.index - 1:
        early = before.loud()
        if early.any():
            return before.index * before.row.size + int(early.argmax())
    return first.index * first.row.size + int(first.loud().argmax())


def end_of(last: AnalysisFrame, following: AnalysisFrame | None) -> int:
    """One after the last sample that stands out, in the last active hop or just after it."""
    if following is not None and following.index == last.index + 1:
        late = following.loud()
        if late.any():
            return (following.index + 1) * late.size - int(late[::-1].argmax())
    return (last.index + 1) * last.row.size - int(last.loud()[::-1].argmax())
