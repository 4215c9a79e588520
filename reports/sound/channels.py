"""The channels of a bare recording: whose each is, and whether it hears one party alone.

What is said here is found by sound alone, so it comes with its confidence or its evidence, and
where something cannot be known, that is what is said.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import correlation
from callerside.reports.hearing.detector import Segment, segments, utterances
from callerside.reports.hearing.echo import is_echo
from callerside.reports.hearing.keys import keys

Samples = NDArray[np.int16]

BOTH_DB = -8.0
"""A channel in which the other party is no further down than that hears both: a telephone's echo
is 15 dB down at least (ITU-T G.168 expects 6 dB of a hybrid, and cancels it)."""
MOST_DRIFT_MS = 20.0
"""By so much two channels may drift apart before what lies between them is not measured."""

_PIECES = 40
_LEAST_PIECE_MS, _PIECE_MS = 300, 1000
_BEFORE_MS, _AFTER_MS = 20, 700
_MOSTLY, _WHOLLY = 0.6, 0.95  # of the pieces that were looked for
_FEWEST = 3
_SAME_MS = 1.0
_MOST_S = 60  # a stretch of speech without a pause of 60 ms is no longer
_DRIFT_PIECES, _DRIFT_S, _LEAST_DRIFT_PPM = 6, 30.0, 5.0
_SILENT = 8  # a sample that is digital silence, after G.711
_OPENING_MS = 50


@dataclass(frozen=True, slots=True)
class Bleed:
    """How much of one channel's party is heard in the other channel."""

    tried: int
    found: int
    gain_db: float = 0.0
    delay_ms: float = 0.0
    drift_ppm: float | None = None
    """By how much faster the delay grows than it should; None: there was too little to tell by."""

    @property
    def is_there(self) -> bool:
        """Whether it is heard at all."""
        return self.found >= min(_FEWEST, self.tried) and self.found > 0

    @property
    def mostly(self) -> bool:
        """Whether most of what is said there is heard here."""
        return self.tried > 0 and self.found >= _MOSTLY * self.tried

    @property
    def wholly(self) -> bool:
        """Whether all of it is."""
        return self.tried > 0 and self.found >= _WHOLLY * self.tried


@dataclass(frozen=True, slots=True)
class Guess:
    """Which channel is the caller's."""

    channel: int
    confidence: float
    """From 0.5 (no idea) to 1."""
    because: str


def bleed(source: Samples, spoken: Sequence[Segment], other: Samples, rate_hz: int) -> Bleed:
    """Look for what is said in one channel in the other, at the same time or a little later."""
    long_enough = [s for s in spoken if s.end - s.start >= rate_hz * _LEAST_PIECE_MS // 1000]
    step = max(1, len(long_enough) // _PIECES)
    places: list[tuple[int, float, float]] = []
    tried = long_enough[::step][:_PIECES]
    others = 0
    before, after = (rate_hz * ms // 1000 for ms in (_BEFORE_MS, _AFTER_MS))
    for segment in tried:
        piece = source[
            segment.start : min(segment.end, segment.start + rate_hz * _PIECE_MS // 1000)
        ]
        low = max(0, segment.start - before)
        within = other[low : segment.start + piece.size + after]
        match = correlation.find(piece, within)
        if match.found:
            wave = piece.astype(np.float64)
            heard = within[match.offset : match.offset + piece.size].astype(np.float64)
            gain = abs(float(wave.dot(heard))) / float(wave.dot(wave))
            gain_db = 20 * math.log10(max(gain, 1e-6))
            if gain_db > -BOTH_DB:  # what is so much louder there was said there, and bleeds here
                others += 1
                continue
            lag = low + match.offset - segment.start
            places.append((segment.start, lag * 1000 / rate_hz, gain_db))
    count = len(tried) - others
    if not places:
        return Bleed(count, 0)
    return Bleed(
        count,
        len(places),
        float(np.median([gain_db for _, _, gain_db in places])),
        float(np.median([lag_ms for _, lag_ms, _ in places])),
        _drift_ppm([(at / rate_hz, lag_ms) for at, lag_ms, _ in places]),
    )


def _drift_ppm(lags: list[tuple[float, float]]) -> float | None:
    """The slope of (second, delay in ms) after Theil and Sen: a few wrong delays do not move it."""
    if len(lags) < _DRIFT_PIECES or lags[-1][0] - lags[0][0] < _DRIFT_S:
        return None
    slopes = [
        (after_ms - before_ms) * 1000 / (after_s - before_s)
        for (before_s, before_ms), (after_s, after_ms) in combinations(lags, 2)
        if after_s > before_s
    ]
    return float(np.median(slopes))


@dataclass(frozen=True)
class Relation:
    """What the two channels of a recording have to do with each other."""

    is_mix: bool
    """Both hold the same sound: it is a mix of both parties."""
    hears_both: tuple[bool, bool]
    """Whether each channel holds the other's party, too, about as loud."""
    bleeds: tuple[Bleed, Bleed]
    """Of the second's party in the first channel, and of the first's in the second."""

    @property
    def drift_ppm(self) -> float | None:
        """How fast the channels drift apart, where one hears the other for long enough to tell."""
        known = [one.drift_ppm for one in self.bleeds if one.is_there and one.drift_ppm is not None]
        worst = max(known, key=abs, default=None)
        return 0.0 if worst is not None and abs(worst) < _LEAST_DRIFT_PPM else worst


def relate(
    one: Samples, other: Samples, heard: tuple[list[Segment], list[Segment]], rate_hz: int
) -> Relation:
    """Compare the channels of a recording; `heard` is what the detector heard in each."""
    spoken = [[s for s in utterances(found, rate_hz) if s.kind == "speech"] for found in heard]
    in_one = bleed(other, spoken[1], one, rate_hz)
    in_other = bleed(one, spoken[0], other, rate_hz)
    loud = [b.gain_db > BOTH_DB and b.mostly for b in (in_one, in_other)]
    whole = [is_loud and b.wholly for is_loud, b in zip(loud, (in_one, in_other), strict=True)]
    at_once = max(abs(b.delay_ms) for b in (in_one, in_other)) <= _SAME_MS
    is_mix = all(whole) and at_once
    if whole[0] != whole[1]:  # a mix beside one party alone: the mix holds all of that party
        loud = whole
    return Relation(is_mix, (loud[0], loud[1]), (in_one, in_other))


def guess_caller(
    channels: tuple[Samples, Samples], heard: tuple[list[Segment], list[Segment]], rate_hz: int
) -> Guess:
    """Which of two channels is the caller's, by what callers and agents are like.

    An echo of the other party is nobody's sign. Each sign adds to the odds: a beep is the agent's,
    keys are the caller's, the agent is the first to speak as a rule, and its line is digitally
    silent where a caller's room is not.
    """
    heard = (
        without_echo(heard[0], channels[0], heard[1], channels[1], rate_hz),
        without_echo(heard[1], channels[1], heard[0], channels[0], rate_hz),
    )
    signs: list[tuple[float, str]] = []  # above 0: the first channel is the caller's
    beeps = [sum(s.kind == "beep" for s in found) for found in heard]
    if beeps[0] != beeps[1]:
        signs.append((1.5 if beeps[1] > beeps[0] else -1.5, "where the beep is"))
    pressed = [len(keys(wave, rate_hz)) for wave in channels]
    if pressed[0] != pressed[1]:
        signs.append((2.5 if pressed[0] > pressed[1] else -2.5, "who presses keys"))
    first = [next((s.start for s in found if s.kind == "speech"), None) for found in heard]
    if first[0] is not None and first[1] is not None and abs(first[0] - first[1]) > rate_hz // 2:
        signs.append((1.4 if first[1] < first[0] else -1.4, "who speaks first"))
    silent = [float((np.abs(wave.astype(np.int32)) <= _SILENT).mean()) for wave in channels]
    if abs(silent[0] - silent[1]) > 0.3:
        signs.append((0.8 if silent[1] > silent[0] else -0.8, "whose line is digitally silent"))
    talk = [sum(s.end - s.start for s in found if s.kind == "speech") for found in heard]
    if sum(talk) and abs(talk[0] - talk[1]) > 0.2 * sum(talk):
        signs.append((0.5 if talk[1] > talk[0] else -0.5, "who speaks more"))
    odds = sum(weight for weight, _ in signs)
    channel = 0 if odds >= 0 else 1
    because = [what for weight, what in signs if (weight > 0) == (odds > 0)]
    return Guess(
        channel, 1 / (1 + math.exp(-abs(odds))), ", ".join(because) or "nothing tells them apart"
    )


def without_echo(
    found: list[Segment], wave: Samples, others: list[Segment], other: Samples, rate_hz: int
) -> list[Segment]:
    """What is heard in a channel and is no echo of what was in the other a moment before."""
    late = rate_hz * _AFTER_MS // 1000
    starts = [segment.start for segment in others]
    kept = []
    for segment in found:
        first = bisect_left(starts, segment.start - late - _MOST_S * rate_hz)
        near = others[first : bisect_left(starts, segment.start)]
        before = any(segment.start < one.end + late for one in near)
        if before:
            past = min(segment.end, segment.start + rate_hz * _PIECE_MS // 1000)
            piece = wave[segment.start : past]
            if is_echo(piece, other[max(0, segment.start - late) : past]):
                continue
        kept.append(segment)
    return kept


def begins_amid(heard: list[Segment], rate_hz: int) -> bool:
    """Whether somebody is speaking already when the recording begins."""
    return any(s.kind == "speech" and s.start < rate_hz * _OPENING_MS // 1000 for s in heard)


def ends_amid(heard: list[Segment], length: int, rate_hz: int) -> bool:
    """Whether somebody is still speaking when the recording ends."""
    return any(s.kind == "speech" and s.end > length - rate_hz * _OPENING_MS // 1000 for s in heard)


def hear(channels: Sequence[Samples], rate_hz: int) -> list[list[Segment]]:
    """What the detector hears in each channel, down to pauses of 60 ms."""
    return [segments(wave, rate_hz) for wave in channels]
