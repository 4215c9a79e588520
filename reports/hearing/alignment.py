"""What was heard of an answer, laid over what the server sent of it, to the sample.

What was sent is known, so where it begins, stops and has holes in what was heard is not detected
but decoded: of all ways in which the sent audio can have become the heard audio, the likeliest is
taken (dynamic programming over frames of 5 ms). In each frame the heard audio is either the sent
audio, later by one of a few candidate lags, or something else: silence, or a sound of another's. A
lag that grows means that something was put in (a hole, if it is silent, else a repetition), one
that shrinks that something was left out; silence where the sent audio is loud, without a change of
lag, is a lost packet. Places are then searched to the sample.

Noise, hum, gain, echo and codec make frames less alike and no lag likelier than the true one, and
a fault hides nothing of what lies before or behind it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import correlation
from callerside.reports.hearing.extent import Edge, Likeness

_FRAME_MS = 5
_LOW_HZ, _HIGH_HZ = (60.0, 260.0), (3300.0, 3700.0)  # hum and DC below, an s above
_SEARCH_MS = 100  # of the sent audio, to find a lag of which nothing is known
_SHORTEST_SEARCH_MS = 15
_BESIDE_MS = 600  # how far from what is known a sound is looked into that is not
_SHORT_SEARCH_MS = 40  # of heard audio that nothing explains: what lies between two faults
_MOST_SEARCHES = 60
_MOST_ROUNDS = 3
_MOST_LAGS = 24
_ALIKE = 0.6  # correlation from which a found place is a candidate
_COHERENT = 0.7  # of a frame, to learn the gain from it
_RINGS_MS = 10
_NEAR_MS = 1000  # of an edge, where all between is known to be heard
_FEWEST = 10  # frames, to learn the phase from
_LEAST_PHASE = 0.02  # of a sample
_DRIFT_STEP = 2  # samples at the compared rate: a lag that changes by less was no fault
_LEAST_FAULT_MS = 1.0
_LEAST_HOLE_MS = 10.0
_LOUD_DB = 22.0  # below the active level: what is less can be silent without being a hole
_CODEC = 0.03  # energy that a codec adds, relative to the sound's
_FAR_MS = 1000
_SNATCH_MS = 300
_MOST_DISTORTED = 0.2  # of a line that clips
_LEVELS = ((1.0, 0.0), (0.32, 0.4), (0.1, 0.8), (3.2, 0.4), (8.0, 0.8))
"""How much louder a part may be than the rest, and what that costs."""
_FLOOR_DB = 45.0  # below what is heard of the answer: no line is more silent than that

# Costs, in nats: what a thing is less likely than that all goes on as it was.
_OTHER = 2.0  # a frame that is neither the answer nor silence
_QUIET = -0.1  # a silent frame may as well be none of the answer
_START = 2.0
_START_WITHIN = 4.0  # the answer's beginning was never heard
_BREAK = 1.2  # the answer is silent for a while, each way
_JUMP = 7.0  # another lag
_STEP = 1.5  # a lag that drifts
_END_EARLY = 3.0
_FAINT = 0.005  # of the active level's energy: a fault of which nobody could hear anything
_SOFT = 3e-4  # of it: fainter than a soft ending
_LOUDER = 4.0  # than before the answer
_OPENING_MS = 120
_SURELY = 0.9
_MOST_RESUMED = 3
_RESUMED_MS = 400
_RESUMED_LENGTHS_MS = (400, 100, 40)  # of the answer's end
_RESUMED_NATS, _RESUMED_EDGE_NATS = 110.0, 25.0
"""Noise makes less at any lag that is tried; at an edge of the answer less is enough."""

# How far the truth may be from what is found, as tests/reports/hearing has it.
_EXACT_MS = 0.2
_EXACT_FAULT_MS = 1.0
_FAULT_MS = 10.0  # of silence that the source has beside it, too, there is no sharper edge
_CLEAR, _FAIR = 0.97, 0.93
_HOLE_MS = 4.0  # that puts off what follows
_LAG_WITHIN_MS = ((_CLEAR, 0.5), (_FAIR, 1.0), (0.85, 3.0), (0.0, 5.0))
_EVIDENT = 2.0  # times the noise: what is less may or may not have been heard

_AS_SENT = 1.0  # a frame that no more speaks against
_EVIDENCE = 2.0  # less speaks for no piece of the answer

Samples = NDArray[np.int16]
Wave = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hole:
    """Silence that was not in the source: at a place of the heard audio."""

    start: int
    end: int
    is_put_in: bool = False
    """Whether what follows is later by it, which gives its length; else it is in place of sound."""


class Span(NamedTuple):
    """Sent audio that was heard in one piece: from and to in the sent audio, and how much later."""

    start: int
    end: int
    lag: int


class InStep(NamedTuple):
    """What was heard in one piece, and between which places that may begin and end."""

    span: Span
    first: Edge
    last: Edge


@dataclass(frozen=True)
class Alignment:
    """How heard audio follows sent audio. Sample numbers are at the heard audio's rate."""

    likeness: float
    """Mean correlation of what was recognised; the confidence in all of this."""
    spans: list[Span] = field(default_factory=list)
    """What was heard, in order; empty if the answer was not recognised."""
    holes: list[Hole] = field(default_factory=list)
    missing: int = 0
    """Samples sent that were left out, before the last one that was heard."""
    repeated: int = 0
    """Samples heard that are not in the source, and no silence."""
    unheard: int = 0
    """Samples sent, from the first loud one to the last, after the last one that was heard."""
    exact: bool = False
    """Whether all of it is clearly as it was sent, to its end or to a cut: no fault befell it."""

    first_between: tuple[int, int] = (0, 0)
    """Places of the sent audio between which the first that was heard may lie."""
    last_between: tuple[int, int] = (0, 0)
    """The same of the place after the last; the two are one where its own end was heard."""

    @property
    def lag_within_ms(self) -> float:
        """How far any of the lags may be from the true one: the fainter, the farther."""
        if self.exact:
            return _EXACT_MS
        return next(ms for least, ms in _LAG_WITHIN_MS if self.likeness >= least)

    @property
    def faults_within_ms(self) -> float:
        """How far the lengths of what is missing or repeated may be from true."""
        return _EXACT_FAULT_MS if self.exact else _FAULT_MS

    @property
    def hole_within_ms(self) -> float:
        """How far the length of the longest hole may be from the true one."""
        longest = max(self.holes, key=lambda hole: hole.end - hole.start, default=None)
        if longest is not None and longest.is_put_in:
            return _HOLE_MS
        return self.faults_within_ms

    @property
    def found(self) -> bool:
        """Whether the answer was recognised."""
        return bool(self.spans)

    @property
    def lags(self) -> list[tuple[int, int]]:
        """(place in the sent audio, how much later it is in the heard audio), in order."""
        return [(span.start, span.lag) for span in self.spans]

    def longest_hole(self) -> int:
        """Samples of the longest hole."""
        return max((hole.end - hole.start for hole in self.holes), default=0)

    def sent_place(self, heard: int) -> int:
        """The place in the sent audio of a place in the heard audio."""
        before = self.spans[0]
        for span in self.spans:
            if span.start + span.lag > heard:
                break
            before = span
        return (
            min(heard - before.lag, before.end)
            if before is not self.spans[0]
            else (min(max(0, heard - before.lag), before.end))
        )


def align(sent: Samples, heard: Samples, rate_hz: int) -> Alignment:
    """Lay sent audio over heard audio, both at `rate_hz`.

    `sent` begins with sound (no silence). `heard` begins before the answer, by however much, and
    may go on after it.
    """
    a, b = _band(sent, rate_hz), _band(heard, rate_hz)
    if not a.any() or not b.any() or b.size < 2 * rate_hz * _FRAME_MS // 1000:
        return Alignment(0.0)
    return _Decoder(a, b, rate_hz).alignment()


def in_step(sent: Samples, heard: Samples, rate_hz: int, within_ms: float) -> InStep | None:
    """The commonest case, in a fraction of the time: as it was sent, to its end or to a cut.

    Before and after it is silence; None where anything at all is otherwise.

    Args:
        sent: begins with sound.
        heard: in which it begins within so many milliseconds.
        rate_hz: of both.
        within_ms: see `heard`.
    """
    block = rate_hz // 100
    opening = sent[: _OPENING_MS * rate_hz // 1000].astype(np.float64)
    match = correlation.find(opening, heard[: opening.size + round(within_ms * rate_hz / 1000)])
    if match.correlation < _SURELY:
        return None
    lag = match.offset
    count = min(sent.size, heard.size - lag) // block
    a = sent[: count * block].astype(np.float32).reshape(count, block)
    b = heard[lag : lag + count * block].astype(np.float32).reshape(count, block)
    cross, own = np.vecdot(a, b), np.vecdot(a, a)
    loud = own > own.max() * 1e-3
    active = float(own[loud].mean())
    first = slice(0, max(1, opening.size // block))
    gain = float(cross[first].sum() / own[first].sum())
    faint = gain**2 * active * _FAINT
    rest = np.vecdot(b, b) - 2 * gain * cross + gain**2 * own
    wrong = np.flatnonzero(rest > faint + _CODEC * gain**2 * own)
    cut = int(wrong[0]) if wrong.size else count
    whole = not wrong.size and sent.size - count * block < block
    around = _BESIDE_MS * rate_hz // 1000
    after = lag + sent.size + block if whole else lag + (cut + 1) * block
    until = after + around if whole else heard.size
    before = _loudest(heard[max(0, lag - around) : lag], block)
    # Behind a cut a soft ending may be heard at another lag: as silent as before it must be.
    least = faint if whole else min(faint, max(gain**2 * active * _SOFT, _LOUDER * before))
    if before > faint or _loudest(heard[after:until], block) > least:
        return None
    known = min(sent.size, heard.size - lag) if whole else cut * block
    near = _NEAR_MS * rate_hz // 1000

    def beside(start: int, end: int) -> tuple[Wave, Wave]:
        return gain * sent[start:end].astype(np.float64), heard[lag + start : lag + end].astype(
            np.float64
        )

    low, high = max(0, known - near), min(sent.size, heard.size - lag, known + 2 * block)
    likeness = Likeness(*beside(low, known), rate_hz)
    sounding = np.flatnonzero(loud)  # how an edge sounds is told by what is loud beside it
    first_of, last_of = sounding[:_FEWEST], sounding[sounding * block < known][-_FEWEST:]
    began = likeness.first(*beside(0, min(known, near, (int(first_of[-1]) + 1) * block)))
    low = max(low, int(last_of[0]) * block if last_of.size else 0)
    ended = Edge(*(low + place for place in likeness.last(*beside(low, high))))
    if whole and ended.place == known:
        ended = ended._replace(place=sent.size, high=sent.size)
    return InStep(Span(began.place, ended.place, lag), began, ended)


def _loudest(heard: Samples, block: int) -> float:
    """The most energy of a block."""
    rows = heard[: heard.size // block * block].astype(np.float32).reshape(-1, block)
    return float(np.vecdot(rows, rows).max()) if rows.size else 0.0


class _Run(NamedTuple):
    """Frames of the heard audio in one state: a lag's number, or None for something else."""

    lag: int | None
    first: int
    past: int


class _Decoder:
    """Of one answer."""

    def __init__(self, a: Wave, b: Wave, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._frame = rate_hz * _FRAME_MS // 1000
        self._shortest = rate_hz * _SHORTEST_SEARCH_MS // 1000
        self._count = b.size // self._frame
        self._b = b[: self._count * self._frame]
        self._pad = self._b.size
        self._set_sent(a)
        self._in_heard = correlation.Searched(self._b)
        rows = self._b.reshape(self._count, self._frame)
        self._heard = np.vecdot(rows, rows)
        self._rows = rows
        self._lags: list[int] = []
        self._known: set[int] = set()
        sent_frames = a[: a.size // self._frame * self._frame].reshape(-1, self._frame)
        energies = np.vecdot(sent_frames, sent_frames) if sent_frames.size else np.zeros(1)
        strong = energies[energies > energies.max() * 1e-3] if energies.size else energies
        self._active = float(strong.mean()) if strong.size else 0.0
        """Of a frame of the sent audio."""
        self._gain = np.ones(self._count)
        self._distortion = _CODEC
        self._residual = math.inf  # of a frame that is heard, what is not the sent audio

    def _set_sent(self, a: Wave) -> None:
        self._a = a
        self._padded = np.concatenate([np.zeros(self._pad), a, np.zeros(self._pad)])
        self._margin = min(self._pad, 2 * _SHORT_SEARCH_MS * self._rate_hz // 1000)
        around = self._padded[self._pad - self._margin : self._pad + a.size + self._margin]
        self._in_sent = correlation.Searched(around)

    def alignment(self) -> Alignment:
        first = self._first_lag()
        if first is None:
            return Alignment(0.0)
        self._take([first])
        self._set_sent(self._in_phase(first))
        self._gain[:] = self._gain_at(first)
        self._distortion = self._distortion_at(first)
        whole = self._whole(first)
        if whole is not None:
            told = self._told([whole])
            return replace(told, exact=told.likeness >= _CLEAR)
        runs = self._decode()
        for _ in range(_MOST_ROUNDS):
            if not self._take(self._found_for_sent(runs)) | self._take(self._found_for_heard(runs)):
                break
            runs = self._decode()
            self._learn_gain(runs)
            self._pruned(runs)
            runs = self._decode()
        return self._told(runs)

    def _whole(self, lag: int) -> _Run | None:
        """All of the answer at one lag, if every frame is as it was sent: nothing befell it."""
        first, past = -(-lag // self._frame), (lag + self._a.size) // self._frame
        if lag < 0 or past > self._count or past <= first:
            return None
        cross, sent = self._products(lag)
        unlikely = self._unlikely(cross, sent, self._noise())[first:past]
        rest = self._heard - 2 * self._gain * cross + self._gain**2 * sent
        matters = rest[first:past] > self._gain[first:past] ** 2 * self._active * _FAINT
        beside = _BESIDE_MS // _FRAME_MS  # a piece that comes twice would be heard there
        around = (max(0, first - 1 - beside), max(0, first - 1)), (past + 1, past + 1 + beside)
        if (matters & (unlikely > _AS_SENT)).any() or any(
            self._loud_heard(*one).any() for one in around
        ):
            return None
        return _Run(0, max(0, first - 1), min(past + 1, self._count))

    # --- candidates

    def _first_lag(self) -> int | None:
        """The lag at which most of the answer is heard, whatever befell the rest."""
        size = correlation.fast_length(self._a.size + self._b.size)
        # Whitened by half: the voice's own period does not count as likeness.
        sent, heard = np.fft.rfft(self._a, size), np.fft.rfft(self._b, size)
        product = heard * np.conj(sent)
        weight = np.sqrt(np.abs(product)) + 1e-9 * np.abs(product).max()
        likeness = np.fft.irfft(product / weight, size)
        lags = np.concatenate([np.arange(self._b.size), np.arange(-self._a.size + 1, 0)])
        strength = np.abs(likeness[lags])
        explained: dict[int, float] = {}
        for _ in range(6):
            place = int(strength.argmax())
            if not strength[place]:
                break
            lag = int(lags[place])
            explained[lag] = self._explained(lag)
            strength[max(0, place - 3) : place + 4] = 0
        most = max(explained.values(), default=0.0)
        # What is said twice is this answer first, and another one with the same words after it.
        return min(
            (lag for lag, much in explained.items() if most and much > 0.95 * most), default=None
        )

    def _explained(self, lag: int) -> float:
        """How many frames' energy of the heard audio one lag explains."""
        _, sent = self._products(lag)
        return float(sent[self._is_coherent(lag)].sum())

    def _take(self, lags: list[int]) -> bool:
        """Take lags as candidates; returns whether any was not known."""
        new = [lag for lag in dict.fromkeys(lags) if lag not in self._known]
        new = new[: _MOST_LAGS - len(self._lags)]
        self._known.update(new)
        self._lags += new
        return bool(new)

    def _pruned(self, runs: list[_Run]) -> None:
        """Forget the lags at which nothing is heard."""
        used = {run.lag for run in runs if run.lag is not None}
        if used:
            self._lags = [lag for number, lag in enumerate(self._lags) if number in used]

    def _found_for_sent(self, runs: list[_Run]) -> list[int]:
        """Lags of what was sent, loud, and is not heard yet."""
        known = np.zeros(self._a.size, bool)
        for run in runs:
            if run.lag is not None:
                lag = self._lags[run.lag]
                first, past = (max(0, one * self._frame - lag) for one in (run.first, run.past))
                known[first:past] = True
        found: list[int] = []
        for searched, (start, end) in enumerate(self._unknown(known)):
            if searched == _MOST_SEARCHES:
                break
            found += [
                place - start for place in _places(self._in_heard.likenesses(self._a[start:end]))
            ]
        return found

    def _unknown(self, known: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
        """Pieces of the sent audio that are loud and not known."""
        longest, shortest = (ms * self._rate_hz // 1000 for ms in (_SEARCH_MS, _SHORTEST_SEARCH_MS))
        for start, end in _stretches(~known):
            loud = self._loud_samples(start, end)
            if loud.size < shortest // 2:
                continue
            start, end = start + int(loud[0]), start + int(loud[-1]) + 1
            count = max(1, round((end - start) / longest))
            for number in range(count):
                first = start + (end - start) * number // count
                past = start + (end - start) * (number + 1) // count
                if past - first >= shortest:
                    yield first, past

    def _found_for_heard(self, runs: list[_Run]) -> list[int]:
        """Lags of what is heard, loud, and nothing explains, beside what is known."""
        window = _SHORT_SEARCH_MS * self._rate_hz // 1000
        matched = [number for number, run in enumerate(runs) if run.lag is not None]
        found: list[int] = []
        if not matched:
            return found
        beside = _BESIDE_MS // _FRAME_MS
        for number, run in enumerate(runs):
            if run.lag is not None:
                continue
            low = run.first if number > matched[0] else max(run.first, run.past - beside)
            high = run.past if number < matched[-1] else min(run.past, run.first + beside)
            loud = np.flatnonzero(self._loud_heard(low, high))
            if loud.size < 2 or len(found) > 2 * _MOST_LAGS:
                continue
            first = max(0, (low + int(loud[0]) - 1) * self._frame)
            last = (low + int(loud[-1]) + 1) * self._frame
            count = max(1, round((last - first) / window))
            for part in range(count):
                start = first + (last - first) * part // count
                piece = self._b[start : first + (last - first) * (part + 1) // count]
                around = self._margin - piece.size, self._margin + self._a.size + piece.size
                places = _places(self._in_sent.likenesses(piece, *around))
                found += [start - place + piece.size for place in places]
        return found

    def _loud_heard(self, first: int, past: int) -> NDArray[np.bool_]:
        level = self._gain[first:past] ** 2 * self._active
        loud: NDArray[np.bool_] = self._heard[first:past] > level * 10 ** (-_LOUD_DB / 10)
        return loud

    # --- the likeliest way

    def _products(self, lag: int) -> tuple[Wave, Wave]:
        """Of every frame: heard times sent, and the sent audio's energy."""
        start = self._pad - lag
        sent = self._padded[start : start + self._b.size]
        if sent.size < self._b.size:
            sent = np.pad(sent, (0, self._b.size - sent.size))
        rows = sent.reshape(self._count, self._frame)
        return np.vecdot(self._rows, rows), np.vecdot(rows, rows)

    def _in_phase(self, lag: int) -> Wave:
        """The sent audio, later by a part of a sample where it is heard so.

        Half a sample makes what is sent and heard as unlike as a tenth of noise does.
        """
        good = self._is_coherent(lag)
        start = self._pad - lag
        sent = self._padded[start : start + self._b.size]
        sent = np.pad(sent, (0, self._b.size - sent.size)).reshape(self._rows.shape)[good].ravel()
        if sent.size < _FEWEST * self._frame:
            return self._a
        heard = self._rows[good].ravel()
        size = correlation.fast_length(sent.size)
        product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size))
        turn = 2 * np.pi * np.fft.rfftfreq(size)  # of the phase, by a delay of one sample
        weight = np.abs(product)
        product *= np.sign(product.real.sum())  # a line may turn the sign
        later = -float((weight * turn * np.angle(product)).sum() / (weight * turn**2).sum())
        if not _LEAST_PHASE < abs(later) < 1:
            return self._a
        size = correlation.fast_length(self._a.size + self._rate_hz // 50)
        turn = 2 * np.pi * np.fft.rfftfreq(size)
        shifted = np.fft.irfft(np.fft.rfft(self._a, size) * np.exp(-1j * turn * later), size)
        return np.asarray(shifted[: self._a.size])

    def _is_coherent(self, lag: int) -> NDArray[np.bool_]:
        """The loud frames that are alike at a lag."""
        cross, sent = self._products(lag)
        alike = np.abs(cross) / np.sqrt(np.maximum(self._heard * sent, 1e-9))
        return np.asarray((alike > _COHERENT) & (sent > self._active * 0.01))

    def _gain_at(self, lag: int) -> float:
        cross, sent = self._products(lag)
        good = self._is_coherent(lag)
        return float(cross[good].sum() / sent[good].sum()) if good.any() else 1.0

    def _distortion_at(self, lag: int) -> float:
        """What share of the loudest frames' energy is not the sent audio, where that is heard.

        What is not, in the usual frame, is noise that a hole is filled with, too.
        """
        cross, sent = self._products(lag)
        near = cross**2 > _COHERENT**2 * self._heard * sent
        if near.any():
            rest = self._heard - cross**2 / np.maximum(sent, 1e-9)
            self._residual = float(np.median(rest[near]))
        loud = (self._heard > self._heard.max() * 0.05) & (sent > self._active * 0.3)
        alike = cross[loud] ** 2 / np.maximum(self._heard[loud] * sent[loud], 1e-9)
        known = alike[alike > _COHERENT**2]
        if known.size < 4:
            return _CODEC
        return float(np.clip(1 - np.median(known), _CODEC, _MOST_DISTORTED))

    def _learn_gain(self, runs: list[_Run]) -> None:
        """The gain frame by frame, from frames that are alike; between them it goes straight."""
        places, gains, weights = [], [], []
        for run in runs:
            if run.lag is None:
                continue
            cross, sent = self._products(self._lags[run.lag])
            alike = np.abs(cross) / np.sqrt(np.maximum(self._heard * sent, 1e-9))
            good = (alike > _COHERENT) & (sent > self._active * 0.03)
            good[: run.first] = good[run.past :] = False
            where = np.flatnonzero(good)
            places += where.tolist()
            gains += cross[where].tolist()
            weights += sent[where].tolist()
        if len(places) < 4:
            return
        order = np.argsort(places)
        x = np.array(places)[order]
        kernel = np.ones(min(20, len(places)))
        top = np.convolve(np.array(gains)[order], kernel, "same")
        bottom = np.convolve(np.array(weights)[order], kernel, "same")
        self._gain = np.interp(np.arange(self._count), x, top / bottom)

    def _noise(self) -> float:
        """Energy of a frame in which the answer is silent."""
        quiet = float(np.percentile(self._heard, 10)) * 2
        level = float(np.median(self._gain)) ** 2 * self._active
        quiet = min(quiet, 2 * self._residual, level * 0.3)
        return max(quiet, level * 10 ** (-_FLOOR_DB / 10)) + 1e-6

    def _decode(self) -> list[_Run]:
        """The likeliest states of the frames."""
        noise = self._noise()
        kinds = len(self._lags)
        order = np.argsort(self._lags)
        lags = np.array(self._lags)[order]
        match = np.empty((self._count, kinds))
        place = np.arange(self._count)[:, None] * self._frame - lags[None, :]
        for column, lag in enumerate(lags):
            cross, sent = self._products(int(lag))
            match[:, column] = self._unlikely(cross, sent, noise)
        match[(place <= -self._frame) | (place >= self._a.size)] = np.inf
        silent = np.log1p(self._heard / noise)
        gap = np.minimum(silent + _QUIET, _OTHER)
        outside = gap
        early = np.where(place <= self._frame, _START, _START + _START_WITHIN)
        late = np.where(place >= self._a.size - 2 * self._frame, 0.0, _END_EARLY)
        states = _viterbi(match, gap, outside, early, late, lags)
        runs: list[_Run] = []
        edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), self._count]
        for first, past in pairwise(edges):
            state = int(states[first])
            known = 0 <= state < kinds
            if known and (gap[first:past] - match[first:past, state]).sum() < _EVIDENCE:
                known = False  # as well silence, or anything else
            runs.append(_Run(int(order[state]) if known else None, first, past))
        return runs

    def _unlikely(self, cross: Wave, sent: Wave, noise: float) -> Wave:
        """How unlikely each frame is as the sent audio at a lag, perhaps louder or quieter."""
        least = np.full(self._count, np.inf)
        for louder, cost in _LEVELS:
            gain = self._gain * louder
            wanted = gain * gain * sent
            rest = np.maximum(0.0, self._heard - 2 * gain * cross + wanted)
            own = noise + self._distortion * (self._heard + wanted)
            np.minimum(least, np.log1p(rest / own) + cost, out=least)
        return least

    # --- what it means

    def _told(self, runs: list[_Run]) -> Alignment:
        matched = self._credible([run for run in runs if run.lag is not None])
        likeness, loud = self._likeness(matched)
        if not matched or loud * _FRAME_MS < min(80, self._a.size * 500 / self._rate_hz):
            return Alignment(likeness)
        if likeness < correlation.ALIKE:
            return Alignment(likeness)
        spans = [self._span(run) for run in matched]
        spans[0], first_between = self._began(spans[0], self._likeness_at(spans[0].lag, spans))
        holes: list[Hole] = []
        repeated = 0
        for number in range(len(spans) - 1):
            before, after = self._refined(spans[number], spans[number + 1])
            spans[number], spans[number + 1] = before, after
        spans, last_between = self._ended(spans, self._likeness_at(spans[-1].lag, spans))
        preceded = self._preceded(spans)
        if preceded is not None:
            spans = [*self._refined(preceded, spans[0]), *spans[1:]]
            spans[0], first_between = self._began(spans[0], self._likeness_at(preceded.lag, spans))
        for _ in range(_MOST_RESUMED):
            resumed = self._resumed(spans)
            if resumed is None:
                break
            longer = [*spans[:-1], *self._refined(spans[-1], resumed)]
            longer, between = self._ended(longer, self._likeness_at(resumed.lag, longer))
            if longer[-1].end - longer[-1].start < self._frame:
                break
            spans, last_between = longer, between
        missing = spans[0].start if self._is_loud(0, spans[0].start) else 0
        for before, after in pairwise(spans):
            put_in, left_out, hole = self._between(before, after)
            repeated += put_in
            missing += left_out
            holes += [hole] if hole else []
        spans = _joined(spans)
        holes += [hole for span in spans for hole in self._muted(span)]
        holes.sort(key=lambda hole: hole.start)
        unheard = self._loud_span(spans[-1].end, self._a.size)
        return Alignment(
            likeness,
            spans,
            holes,
            missing,
            repeated,
            unheard,
            first_between=first_between,
            last_between=last_between,
        )

    def _credible(self, matched: list[_Run]) -> list[_Run]:
        """Without snatches far off: a piece of another answer may sound like one of this."""
        if not matched:
            return matched
        main = max(matched, key=lambda run: run.past - run.first)
        matched = [run for run in matched if run is main or not self._is_snatch(run, main)]
        while len(matched) > 1 and self._goes_back(matched[0], matched[1]):
            matched = matched[1:]
        while len(matched) > 1 and self._trails(matched[-2], matched[-1]):
            matched = matched[:-1]
        return matched

    def _goes_back(self, first: _Run, second: _Run) -> bool:
        """Whether what seems to come first is from the answer's middle, and its beginning later."""
        short = first.past - first.first < _SNATCH_MS // _FRAME_MS
        start = self._span(first).start
        return short and start > 2 * self._frame and self._span(second).start < start

    def _trails(self, before: _Run, last: _Run) -> bool:
        """Whether the last that seems to be heard is a snatch, long after the rest."""
        short = last.past - last.first < _SNATCH_MS // 2 // _FRAME_MS
        late = last.first - before.past > _SNATCH_MS // _FRAME_MS
        return short and late and last.lag != before.lag

    def _is_snatch(self, run: _Run, main: _Run) -> bool:
        assert run.lag is not None and main.lag is not None  # noqa: S101, PT018 - matched
        far_ms = abs(self._lags[run.lag] - self._lags[main.lag]) * 1000 / self._rate_hz
        loud = int(self._loud_heard(run.first, run.past).sum())
        return loud < _SNATCH_MS // _FRAME_MS and far_ms > _FAR_MS

    def _likeness(self, matched: list[_Run]) -> tuple[float, int]:
        """The mean correlation of the loud frames that are recognised, and how many these are."""
        cross_sum = heard_sum = sent_sum = 0.0
        loud = 0
        for run in matched:
            assert run.lag is not None  # noqa: S101 - chosen so
            cross, sent = self._products(self._lags[run.lag])
            part = slice(run.first, run.past)
            strong = sent[part] > self._active * 0.03
            loud += int(strong.sum())
            cross_sum += float(np.abs(cross[part][strong]).sum())
            heard_sum += float(self._heard[part][strong].sum())
            sent_sum += float(sent[part][strong].sum())
        if not heard_sum or not sent_sum:
            return 0.0, 0
        return min(1.0, cross_sum / (heard_sum * sent_sum) ** 0.5), loud

    def _span(self, run: _Run) -> Span:
        assert run.lag is not None  # noqa: S101 - chosen so
        lag = self._lags[run.lag]
        start = min(max(0, run.first * self._frame - lag), self._a.size)
        return Span(start, min(max(start, run.past * self._frame - lag), self._a.size), lag)

    def _likeness_at(self, lag: int, spans: list[Span]) -> Likeness:
        """Learnt at that lag, if much is heard there: another may be part of a sample beside it."""

        def heard(span: Span) -> tuple[bool, int]:
            count = span.end - span.start
            return span.lag == lag and count >= _FEWEST * self._frame, count

        longest = max(spans, key=heard)
        return Likeness(*self._beside(longest.start, longest.end, longest.lag), self._rate_hz)

    def _beside(self, start: int, end: int, lag: int) -> tuple[Wave, Wave]:
        """A piece of the sent audio, as loud as it is heard, and what is heard in its place."""
        start, end = max(start, -lag), min(end, self._b.size - lag)
        frames = np.clip(np.arange(start, end) + lag, 0, self._b.size - 1) // self._frame
        return self._gain[frames] * self._a[start:end], self._b[start + lag : end + lag]

    def _began(self, span: Span, likeness: Likeness) -> tuple[Span, tuple[int, int]]:
        """From the first sample that is heard, and between which places that may be."""
        low = max(0, -span.lag)
        edge = likeness.first(*self._beside(low, span.end, span.lag))
        place, between = low + edge.place, (low + edge.low, low + edge.high)
        return span._replace(start=min(place, span.end)), between

    def _is_alike(self, start: int, end: int, lag: int) -> bool:
        """Whether a piece of the sent audio is heard at a lag, however quietly."""
        sent, heard = self._a[start:end], self._b[start + lag : end + lag]
        if sent.size != heard.size:
            return False
        energy = float(sent.dot(sent)) * float(heard.dot(heard))
        return energy > 0 and abs(float(sent.dot(heard))) / energy**0.5 > _ALIKE

    def _ended(self, spans: list[Span], likeness: Likeness) -> tuple[list[Span], tuple[int, int]]:
        """To the last sample that is heard, and between which places that may be.

        What lies behind a hole, at the same lag, must be worth as much as the hole speaks against.
        """
        lag = spans[-1].lag
        others = [number for number, span in enumerate(spans) if span.lag != lag]
        first = others[-1] + 1 if others else 0
        low = max(spans[first].start, -lag)
        edge = likeness.last(*self._beside(low, self._a.size, lag))
        end = self._faded(low + edge.place, lag)
        heard = [*spans[: first + 1], *(span for span in spans[first + 1 :] if span.start < end)]
        heard[-1] = heard[-1]._replace(end=max(end, heard[-1].start))
        return heard, (min(end, low + edge.low), max(end, low + edge.high))

    def _resumed(self, spans: list[Span]) -> Span | None:
        """What is heard behind the last span, at another lag, and noise hides from the frames.

        What is left of an answer behind a fault may be short and faint; then no piece of it is
        alike enough, and no frame likely enough, but all of it together is.
        """
        last = spans[-1]
        likeness = self._likeness_at(last.lag, spans)
        past = self._a.size
        first = last.end + int(min(self._loud_samples(last.end, past), default=0))
        low = max(0, last.end + last.lag - self._frame)
        gain = self._gain[min(self._count - 1, low // self._frame)]
        far, near, *lengths = (
            ms * self._rate_hz // 1000 for ms in (_FAR_MS, _RESUMED_MS, *_RESUMED_LENGTHS_MS)
        )
        best, resumed = 0.0, None
        # What follows next, and what comes last: of a cut answer the one, of a whole one the other.
        pieces = (first, min(past, first + near)), *((past - one, past) for one in lengths)
        for start, end in dict.fromkeys(pieces):
            if start < last.end or end - start < self._shortest:
                continue
            found = likeness.elsewhere(
                gain * self._a[start:end], self._b[low : low + past - last.end + far]
            )
            if found is None or found.nats <= best:
                continue
            span = Span(start + found.start, start + found.end, low + found.later - start)
            if self._is_evident(found.nats, span.lag - last.lag, past - span.end):
                best, resumed = found.nats, span
        return resumed

    def _preceded(self, spans: list[Span]) -> Span | None:
        """The same before the first span."""
        first = spans[0]
        if first.start < self._shortest:
            return None
        high = max(0, min(self._b.size, first.start + first.lag + self._frame))
        low = max(0, high - first.start - _FAR_MS * self._rate_hz // 1000)
        gain = self._gain[min(self._count - 1, high // self._frame)]
        likeness = self._likeness_at(first.lag, spans)
        found = likeness.elsewhere(gain * self._a[: first.start], self._b[low:high])
        if found is None:
            return None
        span = Span(found.start, found.end, low + found.later)
        return span if self._is_evident(found.nats, span.lag - first.lag, span.start) else None

    def _is_evident(self, nats: float, later: int, left: int) -> bool:
        """Whether a piece is heard, so much later than another, by so many nats.

        What is heard of an answer most likely reaches to its edge, till which so much is `left`.
        """
        least = _RESUMED_EDGE_NATS if left < 2 * self._frame else _RESUMED_NATS
        if abs(later) > _RESUMED_MS * self._rate_hz // 1000:
            least *= 2
        return later != 0 and nats > least

    def _faded(self, end: int, lag: int) -> int:
        """Further on, where the answer is still heard, but ever more quietly.

        For longer than a filter rings.
        """
        cut = end
        step, noise = self._frame // 2, self._noise() / 2
        while end + step <= min(self._a.size, self._b.size - lag):
            sent, heard = self._a[end : end + step], self._b[end + lag : end + lag + step]
            cross, energy = float(sent.dot(heard)), float(heard.dot(heard))
            own = float(sent.dot(sent))
            gain = self._gain[min(self._count - 1, max(0, (end + lag) // self._frame))]
            alike = cross * np.sign(gain) / max(1e-9, (energy * own) ** 0.5)
            if alike < 0.8 or energy < 2 * noise or cross / max(own, 1e-9) / gain < 0.03:
                break
            end += step
        return end if end - cut >= _RINGS_MS * self._rate_hz // 1000 else cut

    def _refined(self, before: Span, after: Span) -> tuple[Span, Span]:
        """Where one span really ends and the next one begins, to the sample.

        Three explanations of what lies between them are held against each other: they touch; there
        is silence, just as long as the lag has grown; there is silence of some other length.
        """
        around = 4 * self._frame
        first, second = before.end + before.lag, after.start + after.lag
        low = max(before.start + before.lag, first - around)
        high = min(after.end + after.lag, max(first, second) + around, self._b.size)
        low = max(low, min(first, after.start + after.lag - 2 * around))
        if high <= low:
            return before, after
        one = _sums(self._unexplained(low, high, before.lag))
        two = _sums(self._unexplained(low, high, after.lag))
        none = _sums(self._b[low:high] ** 2)
        touching = one + two[-1] - two
        left, right = one - none, none + two[-1] - two
        best_left = np.minimum.accumulate(left)
        apart = best_left + right
        length = after.lag - before.lag
        noise = self._noise() / self._frame * (high - low)
        end = int(touching.argmin())
        start, least = end, float(touching[end])
        if apart.min() + noise < 0.7 * least:
            start = int(apart.argmin())
            end = int(left[: start + 1].argmin())
            least = float(apart[start])
        if 0 < length <= high - low:
            put_in = left[: left.size - length] + right[length:]
            place = int(put_in.argmin())
            if put_in[place] <= least * 1.1 + noise and self._is_silent(
                low + place, low + place + length
            ):
                end, start = place, place + length
        end = min(end + low - before.lag, self._a.size)
        start = max(0, start + low - after.lag)
        return before._replace(end=max(before.start, end)), after._replace(
            start=min(after.end, start)
        )

    def _unexplained(self, low: int, high: int, lag: int) -> Wave:
        """Of each sample heard, if it is the sent audio at a lag."""
        first = self._pad - lag + low
        sent = self._padded[first : first + high - low]
        if sent.size < high - low:
            sent = np.pad(sent, (0, high - low - sent.size))
        frames = np.minimum(np.arange(low, high) // self._frame, self._count - 1)
        return np.asarray((self._b[low:high] - self._gain[frames] * sent) ** 2)

    def _between(self, before: Span, after: Span) -> tuple[int, int, Hole | None]:
        """What happened between two spans: samples repeated, samples left out, and a hole."""
        later = after.lag - before.lag
        first, second = before.end + before.lag, after.start + after.lag
        least = round(_LEAST_FAULT_MS * self._rate_hz / 1000)
        length = max(0, second - first)
        if length < 2 * least or not self._is_silent(first, second):
            if abs(later) < least:
                return 0, 0, None
            return max(0, later), max(0, -later), None
        skipped = max(0, after.start - before.end)
        loud = self._loud_span(before.end, after.start)
        repeated = max(0, before.end - after.start)
        if abs(later) < least and self._is_alike(before.end, after.start, after.lag):
            return 0, 0, None  # it is quiet, and heard
        if later > -least:
            hole = length - (skipped - loud)
        else:  # what was left out was loud, or there is silence in place of it
            hole = min(length, max(0, self._loud_samples(before.end, after.start).size + later))
        least_hole = round(_LEAST_HOLE_MS * self._rate_hz / 1000)
        found = Hole(first, first + hole, later >= least) if hole >= least_hole else None
        left_out = -later if later <= -least else 0
        return repeated if repeated >= least else 0, left_out, found

    def _muted(self, span: Span) -> Iterator[Hole]:
        """Silence within a span that is too short to be seen frame by frame."""
        low = max(0, span.start + span.lag)
        high = min(span.end, self._a.size) + span.lag
        high = min(high, self._b.size)
        if high - low < self._frame:
            return
        frames = np.minimum(np.arange(low, high) // self._frame, self._count - 1)
        sent = (self._gain[frames] * self._a[low - span.lag : high - span.lag]) ** 2
        heard = _smooth(self._b[low:high] ** 2, self._frame // 2)
        wide = _smooth(sent, 2 * self._frame)
        loud = wide > self._gain[frames] ** 2 * self._active / self._frame * 10 ** (-1.8)
        muted = loud & (heard < 0.02 * wide)
        least = (_LEAST_HOLE_MS - 2 * _FRAME_MS / 2) * self._rate_hz / 1000
        for first, past in _stretches(muted):
            sent_first = low + first - span.lag
            if past - first >= least and not self._is_alike(
                sent_first, sent_first + past - first, span.lag
            ):
                margin = self._frame // 4
                yield Hole(low + first - margin, low + past + margin)

    def _loud_span(self, start: int, end: int) -> int:
        """From the first loud frame of a piece of the sent audio to its last."""
        loud = self._loud_samples(start, end)
        return int(loud[-1] - loud[0] + 1) if loud.size else 0

    def _loud_samples(self, start: int, end: int) -> NDArray[np.int64]:
        if end <= start:
            return np.zeros(0, np.int64)
        limit = (self._active / self._frame * 10 ** (-_LOUD_DB / 10)) ** 0.5
        return np.flatnonzero(np.abs(self._a[start:end]) > limit)

    def _is_loud(self, start: int, end: int) -> bool:
        return self._loud_span(start, end) > self._frame // 2

    def _is_silent(self, first: int, past: int) -> bool:
        """Whether next to nothing is heard, measured by the answer and by the line's noise."""
        if past <= first:
            return False
        fringe = min(self._frame // 4, (past - first) // 4)  # where filters smear what is beside
        piece = self._b[first + fringe : past - fringe]
        level = float(piece.dot(piece)) / piece.size * self._frame
        gain = float(np.median(self._gain[first // self._frame : past // self._frame + 1]))
        return level < max(3 * self._noise(), gain * gain * self._active * 0.03)


def _places(likeness: Wave) -> list[int]:
    """The two where a piece is heard most surely, if it is heard at all."""
    likeness = np.abs(likeness)
    found: list[int] = []
    for _ in range(2):
        if not likeness.size or likeness.max() < _ALIKE:
            break
        place = int(likeness.argmax())
        found.append(place)
        likeness[max(0, place - 8) : place + 9] = 0
    return found


def _viterbi(
    match: Wave, gap: Wave, outside: Wave, early: Wave, late: Wave, lags: NDArray[np.int64]
) -> list[int]:
    """The state of each frame: a lag's number k, `kinds` + k for a gap after it, -1 outside.

    In plain Python: with few lags that is faster than an array's operations for every frame.
    """
    kinds = lags.size
    near = [
        [other for other in (k - 1, k + 1) if 0 <= other < kinds and _is_near(lags, k, other)]
        for k in range(kinds)
    ]
    numbers = range(kinds)
    matched, gaps = [math.inf] * kinds, [math.inf] * kinds
    before, after = 0.0, math.inf
    came_match: list[list[int]] = []
    came_gap: list[list[bool]] = []
    came_after: list[int] = []
    frames = zip(
        match.tolist(), gap.tolist(), outside.tolist(), early.tolist(), late.tolist(), strict=True
    )
    for fits, silence, other, starts, ends in frames:
        best = min(matched)
        source = matched.index(best)
        jumped = best + _JUMP
        paused = min(gaps)
        if paused + _BREAK + _JUMP < jumped:
            jumped, source = paused + _BREAK + _JUMP, kinds + gaps.index(paused)
        over = [one + end for one, end in zip(matched, ends, strict=True)]
        least = min(over)
        came_after.append(-1 if after <= least else over.index(least))
        after = min(after, least) + other
        next_matched, origins = [], []
        opened, next_gaps = [], []
        for k, value, broken, starting, fit in zip(
            numbers, matched, gaps, starts, fits, strict=True
        ):
            opens = value + _BREAK < broken
            opened.append(opens)
            next_gaps.append((value + _BREAK if opens else broken) + silence)
            origin = k
            if jumped < value:
                value, origin = jumped, source
            if broken + _BREAK < value:
                value, origin = broken + _BREAK, kinds + k
            for neighbour in near[k]:
                if matched[neighbour] + _STEP < value:
                    value, origin = matched[neighbour] + _STEP, neighbour
            if before + starting < value:
                value, origin = before + starting, -1
            next_matched.append(value + fit)
            origins.append(origin)
        came_gap.append(opened)
        gaps = next_gaps
        came_match.append(origins)
        matched = next_matched
        before += other
    ends = late[-1].tolist()
    matched = [one + end for one, end in zip(matched, ends, strict=True)]
    return _traced(matched, before, after, came_match, came_gap, came_after)


def _is_near(lags: NDArray[np.int64], one: int, other: int) -> bool:
    return abs(int(lags[one]) - int(lags[other])) <= _DRIFT_STEP


def _traced(
    matched: list[float],
    before: float,
    after: float,
    came_match: list[list[int]],
    came_gap: list[list[bool]],
    came_after: list[int],
) -> list[int]:
    """The states, from the last to the first."""
    count, kinds = len(came_match), len(matched)
    states = [-1] * count
    best = min(matched)
    if before <= min(after, best):
        return states
    state = -2 if after <= best else matched.index(best)  # -2: after the answer
    for number in range(count - 1, -1, -1):
        if state == -1:
            break
        if state == -2:
            state = -2 if came_after[number] < 0 else came_after[number]
            continue
        states[number] = state
        if state >= kinds:
            state = state - kinds if came_gap[number][state - kinds] else state
        else:
            state = came_match[number][state]
    return states


def _sums(wave: Wave) -> Wave:
    """Of the first so many samples."""
    return np.concatenate(([0.0], np.cumsum(wave)))


def _smooth(wave: Wave, size: int) -> Wave:
    """The mean around each sample."""
    sums = np.concatenate((np.zeros(1), np.cumsum(wave)))
    low = np.maximum(np.arange(wave.size) - size // 2, 0)
    high = np.minimum(low + size, wave.size)
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _stretches(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _joined(spans: list[Span]) -> list[Span]:
    """Without spans that nothing parts."""
    joined = spans[:1]
    for span in spans[1:]:
        if span.lag == joined[-1].lag and span.start <= joined[-1].end:
            joined[-1] = joined[-1]._replace(end=span.end)
        else:
            joined.append(span)
    return joined


def _band(samples: Samples, rate_hz: int) -> Wave:
    """Without hum, DC, and what a telephone's filters differ in.

    What is cut amid a sound rings in a filter, much like the sound that is no more there: its edges
    are wide, and round, so that next to nothing of that is left 10 ms later.
    """
    wave = samples.astype(np.float64)
    if not wave.size:
        return wave
    margin = rate_hz // 50
    size = correlation.fast_length(wave.size + margin)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    rising = np.clip((hz - _LOW_HZ[0]) / (_LOW_HZ[1] - _LOW_HZ[0]), 0, 1)
    falling = np.clip((_HIGH_HZ[1] - hz) / (_HIGH_HZ[1] - _HIGH_HZ[0]), 0, 1)
    shape = (1 - np.cos(np.pi * rising)) * (1 - np.cos(np.pi * falling)) / 4
    return np.asarray(np.fft.irfft(np.fft.rfft(wave, size) * shape, size)[: wave.size])
