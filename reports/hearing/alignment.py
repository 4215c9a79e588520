"""What was heard of an answer, compared with what the server sent of it.

The sent audio is laid over the heard audio piece by piece. Where the two run in step their lag is
constant; a lag that grows means that something was put in (a hole, if it is silent, else a
repetition), one that shrinks that something was left out. Where sent audio is loud and heard audio
at its place is not, there is a hole without a change of lag: a lost packet.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import correlation

_BLOCK_MS = 20
_WINDOW_MS = 60  # long enough to be unmistakable, short enough to sit between two faults
_SURE_WINDOW_MS = 160  # for a new lag: voices repeat themselves every few milliseconds
_OPENING_MS = 400  # of the sent audio, to find where it begins
_JUMP_MS = 1500  # how far a lag may jump, either way
_IN_STEP = 0.7  # correlation at the present lag that needs no better one
_SURELY_IN_STEP = 0.85
_LOOK_AHEAD = 4  # windows
_AS_GOOD = 0.97  # of the best correlation: of such places the nearest is taken
_ENERGY_MS = 5
_SHORTEST_HOLE_STEPS = 2
_LOUD_DBFS = -42.0
_MUTED_DB = 15.0  # heard so far below sent is not heard (G.711 and resampling: 1 dB)

Samples = NDArray[np.int16]
Wave = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hole:
    """Silence that was not in the source: at a place of the heard audio."""

    start: int
    end: int


@dataclass(frozen=True)
class Alignment:
    """How heard audio follows sent audio. Sample numbers are at the heard audio's rate."""

    likeness: float
    """Correlation of the opening; below 0.5 the answer was not recognised, and no more is known."""
    lags: list[tuple[int, int]] = field(default_factory=list)
    """(place in the sent audio, how much later it is in the heard audio), in order."""
    holes: list[Hole] = field(default_factory=list)
    missing: int = 0
    """Samples sent that were left out."""
    repeated: int = 0
    """Samples heard that are not in the source, and no silence."""

    @property
    def found(self) -> bool:
        """Whether the answer was recognised."""
        return bool(self.lags)

    def longest_hole(self) -> int:
        """Samples of the longest hole."""
        return max((hole.end - hole.start for hole in self.holes), default=0)

    def sent_place(self, heard: int) -> int:
        """The place in the sent audio of a place in the heard audio."""
        lag = self.lags[0][1]
        for place, later in self.lags:
            if place + later > heard:
                break
            lag = later
        return heard - lag


def align(sent: Samples, heard: Samples, rate_hz: int) -> Alignment:
    """Lay sent audio over heard audio, both at `rate_hz`.

    `sent` begins with sound (no silence). `heard` begins somewhat before the answer, and ends where
    the answer was over or cut: what was sent beyond that is not missing.
    """
    a, b = sent.astype(np.float64), heard.astype(np.float64)
    opening = correlation.find(a[: _OPENING_MS * rate_hz // 1000], b)
    if not opening.found:
        return Alignment(opening.correlation)
    lags = _follow(a, b, opening.offset, rate_hz)
    holes = _muted(a, b, lags, rate_hz)
    missing = repeated = 0
    for (_, before), (place, after) in pairwise(lags):
        if after < before:
            missing += before - after
        elif _is_quiet(b[place + before : place + after]):
            holes.append(Hole(place + before, place + after))
        else:
            repeated += after - before
    return Alignment(
        opening.correlation, lags, sorted(holes, key=lambda h: h.start), missing, repeated
    )


def _follow(a: Wave, b: Wave, lag: int, rate_hz: int) -> list[tuple[int, int]]:
    """The lag, wherever it changes."""
    block, window, sure = (ms * rate_hz // 1000 for ms in (_BLOCK_MS, _WINDOW_MS, _SURE_WINDOW_MS))
    jump = _JUMP_MS * rate_hz // 1000
    lags = [(0, lag)]
    followed = lag  # heard audio up to here is known already: nothing that follows lies before it
    for place in range(0, a.size - window, block):
        piece = a[place : place + window]
        if _is_quiet(piece):
            continue
        now = b[place + lag : place + lag + window]
        if now.size < window:
            break
        if _likeness(piece, now) >= _IN_STEP:
            followed = place + lag + window
            continue
        if _in_step_again(a, b, place, lag, window):
            continue
        longer = a[place : place + sure]
        low = max(0, followed - window, place + lag - jump)
        likeness = correlation.likenesses(longer, b[low : place + lag + jump + longer.size])
        found = _nearest(likeness, place + lag - low)
        if found is not None and low + found - place != lag:
            lag = low + found - place
            followed = place + lag
            lags.append((_change(a, b, place, lags[-1][1], lag, sure), lag))
    return lags


def _in_step_again(a: Wave, b: Wave, place: int, lag: int, window: int) -> bool:
    """Whether the present lag fits again soon: then something is damaged here, but not shifted."""
    for start in range(place + window, place + (_LOOK_AHEAD + 1) * window, window):
        piece, now = a[start : start + window], b[start + lag : start + lag + window]
        whole = piece.size == now.size == window and not _is_quiet(piece)
        if whole and _likeness(piece, now) >= _SURELY_IN_STEP:
            return True
    return False


def _nearest(likeness: Wave, place: int) -> int | None:
    """The place nearest to `place` of those that are about as alike as the best."""
    if not likeness.size or likeness.max() < _IN_STEP:
        return None
    places = np.flatnonzero(likeness >= _AS_GOOD * likeness.max())
    return int(places[np.abs(places - place).argmin()])


def _change(a: Wave, b: Wave, place: int, before: int, after: int, around: int) -> int:
    """Where in the sent audio, near `place`, the lag went from one value to the other.

    The place that leaves the least unexplained when the old lag holds before it and the new one
    from it on; where audio was left out, the old one before that, and the place is behind it.
    """
    left_out = max(0, before - after)
    start, end = max(left_out, place - around), min(a.size, place + around)
    end = min(end, b.size - max(before - left_out, after))
    start = max(start, left_out - before, -after)
    if end <= start:
        return place
    earlier = slice(start - left_out, end - left_out)
    old = np.cumsum((a[earlier] - b[start - left_out + before : end - left_out + before]) ** 2)
    new = np.cumsum((a[start:end] - b[start + after : end + after]) ** 2)
    unexplained = np.concatenate(([0.0], old)) + new[-1] - np.concatenate(([0.0], new))
    return start + int(np.argmin(unexplained))


def _muted(a: Wave, b: Wave, lags: list[tuple[int, int]], rate_hz: int) -> list[Hole]:
    """Stretches where the source is loud and what is heard in step with it is not."""
    step = _ENERGY_MS * rate_hz // 1000
    holes: list[Hole] = []
    # What was left out before a lag that shrank is missing, and no hole.
    ends = [place - max(0, lag - later) for (_, lag), (place, later) in pairwise(lags)] + [a.size]
    for (start, lag), end in zip(lags, ends, strict=True):
        last = min(end, b.size - lag)
        count = max(0, (last - start) // step)
        sent = _levels(a[start : start + count * step], step)
        heard = _levels(b[start + lag : start + lag + count * step], step)
        loud = sent > _LOUD_DBFS
        quiet = loud & (heard < sent - _MUTED_DB)
        holes += [
            Hole(start + lag + first * step, start + lag + past * step)
            for first, past in _runs(quiet)
            if past - first >= _SHORTEST_HOLE_STEPS
        ]
    return holes


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _levels(wave: Wave, step: int) -> Wave:
    rows = wave.reshape(-1, step)
    levels: Wave = 10 * np.log10(np.vecdot(rows, rows) / step / 32768**2 + 1e-12)
    return levels


def _is_quiet(wave: Wave) -> bool:
    return wave.size == 0 or float(wave.dot(wave)) / wave.size < 32768**2 * 10 ** (_LOUD_DBFS / 10)


def _likeness(a: Wave, b: Wave) -> float:
    energy = float(a.dot(a)) * float(b.dot(b))
    return float(a.dot(b)) / energy**0.5 if energy else 0.0
