"""Where speech is in a recording that is over: looked at from both sides, and as a whole.

A detector that listens while the call is up has heard nothing of what comes. Afterwards more can be
known, and the definition of a beginning and an end (`active_level`) be kept to:

1. **What is background.** Each 5 ms have a level in some twenty bands. The mean of how far these
   are above the bands' quiet levels has two modes, background and speech (a mixture of two normal
   distributions); from the frames of the lower one come each band's usual level and its spread, so
   that music and babble, which vary, are as much background as a steady hum. Where that is uneven,
   there is talk among it: then the quietest stretches are the background to begin with.
2. **What stands out.** A frame's score is how far, in spreads, its bands are above the background.
   What is above nearly all of the background's is speech. It goes on, both ways, for as long as the
   sum of what is over the background's usual score grows (a test of Page's). Short stretches that
   come again and again, each alone, are notes that are struck, and background.
3. **Where it begins and ends.** The active level of an utterance by P.56 says which samples are
   part of it. Where the background lies below these, they are looked up, and that is exact.
   Where it lies above, the edge is the last 2.5 ms that stand out of it, the background made white;
   or farther out, where it is likely that speech goes on, though none of it stands out
   (`faint_speech`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import active_level, faint_speech
from callerside.reports.hearing.tone_detector import torn_tone

Samples = NDArray[np.int16]
Wave = NDArray[Any]
Flags = NDArray[np.bool_]
Span = tuple[int, int]


class Behind(IntEnum):
    """What there is behind a stretch of speech, by which its edges are known more or less well."""

    SILENCE = 0
    """Nothing louder than its edges: they are known by the definition."""
    FAINT_NOISE = 1
    """A background that is louder than its edges, and fainter than nearly all the rest."""
    NOISE = 2
    """One that is louder than its softest sounds."""
    LOUD_NOISE = 3
    """One that is louder than its softer sounds, whole syllables among them."""
    LOUDEST_NOISE = 4
    """One that is nearly as loud as the sound."""


class Spoken(NamedTuple):
    """A stretch of speech: first sample, the one after the last, and what is behind it."""

    start: int
    end: int
    behind: Behind


_HOP_MS = 5
_WINDOW_MS = 16
_SMOOTHED = 5  # hops
_SPILLED = 4  # hops, by which a tone's window and smoothing widen it
_BAND_EDGES_HZ = (*range(60, 1000, 125), *np.geomspace(1000, 7600, 12).tolist())
_DEPTH_DB = 50.0  # below the loudest nothing is looked at: no sound is that far below its own level
_SILENT_DBFS = -78.0  # of a whole frame: below is what codecs leave of silence
_LEAST_DBFS = -55.0  # an utterance of a lower active level is none
_LEAST_MS = 20  # must stand out clearly, for a region to be speech
_LEAST_ALONE = 4.0  # of hops times the least score must be over that, where no other sound is near
_PLAIN = 4.5  # times the least score, and more: what is beside such a sound is as plain, or noise
_LEAST_BACKGROUND_MS = 200
_QUIET_MS = 400  # for so long nobody who talks is as quiet as the background
_UNEVEN, _UNEVEN_DB = 3.0, 1.0
_QUIETEST_DB = 0.5, 2.0  # above what is hardly ever less
_STRUCK_MS, _ALONE_MS = 120, 200
_OFTEN, _OFTEN_MS = 5, 2500  # times at least, and on average in so long
_NEAR_MS = 100  # of a sound: may be part of it
_BLURRED_MS = 25  # of a sharp edge: less is no more of a sound
_LEAST_NATS = 0.5  # by so much speech must be likelier: half of all edges are sharp
_NEAR_HOPS = 3  # of where an edge likely is, it is sharper where something stands out
_SHARP, _EDGE_HOPS = 3.0, 4  # times the least score, so soon
_FADES_EVIDENT = 5.0  # of what is over the usual, in all: noise makes 2 beside 1 edge in 100
_FADES_HOPS = 60  # for so long a sound may go on, fainter than what is surely one
_NO_CLICK_MS = 25
_ROUNDS = 3
_SOME = 800  # values tell two modes apart as well as all
_STEPS = 20
_KEPT_AWAY_MS = 60  # of speech: no background
_NEAR_DB = 6.0
_FLAT_MS = 2000
_FLAT_DB = 3.0
_SET_IN_DB = 3.0  # above the background, at least, is noise that sets in
_SPREAD_DB = 1.0  # at least
_MOST_SPREADS = 12.0
_LEAST_SCORE = 1.0
_LEAST_BESIDE = 0.8, 0.7  # beside a sound: before it and behind it
_FADES_TO = 0.6  # of the way from the background's median score to its 97th percentile
_ABOVE = 0.4  # of the way from the background's median score to its 97th percentile, beyond that
_CLEARLY = 1.2
_NOISES_DB = ((Behind.FAINT_NOISE, 27.5), (Behind.NOISE, 15.0), (Behind.LOUD_NOISE, 8.5))
"""How far below the active level each is, at least."""
_UTTERANCE_MS = 400
_SOURCE_MS = 1000  # sentences of one source are no farther apart: they have one active level
_BESIDE_MS = 30
_BLOCK_MS = 2.5
_BLOCK_ABOVE = 1.5  # times what 97 % of the background's blocks have
_LONE_BLOCKS = 3  # beside a block: where none of them stands out, it may be chance
_LONE_ABOVE = 2.0  # times what others have must such a one have, then
_EDGE_MS = 45
_SPILL_MS = 12  # by so much a window and its smoothing widen a sound that none of its blocks show
_ORDER = 12  # of the filter that whitens
_LEARNT_FROM = 1 << 17  # samples
_CHUNK_S = 60
_AT_ONCE = 256  # windows: as many stay in a processor's cache, which takes a third of the time
_FULL_SCALE = 32768.0
_LEAST_SAMPLE = 8 * 1.4  # PCMU's least, which it makes of 4 to 12, and what resampling adds


def spoken(
    samples: Samples, rate_hz: int, *, pause_ms: float, beside: Sequence[Span] = ()
) -> list[Spoken]:
    """The stretches of speech in a recording of one channel, that no pause of `pause_ms` parts.

    Args:
        samples: of one channel.
        rate_hz: from 8000 up.
        pause_ms: shorter ones are bridged.
        beside: where there is something else (a tone): neither speech nor background.

    Returns:
        In order.
    """
    if samples.size < _WINDOW_MS * rate_hz // 1000:
        return []
    found: list[Spoken] = []
    chunk = _CHUNK_S * rate_hz
    for start in range(0, samples.size, chunk):
        # Each with what is around it, so that nothing is cut and short rests have a background.
        low, high = max(0, start - chunk // 4), min(samples.size, start + chunk + chunk // 4)
        inside = [(a - low, b - low) for a, b in beside if a < high and b > low]
        for a, b, behind in _Recording(samples[low:high], rate_hz, inside).spans():
            if start <= a + low < start + chunk:
                found.append(Spoken(a + low, b + low, behind))
        if high == samples.size:
            break
    pause = round(pause_ms * rate_hz / 1000)
    merged: list[Spoken] = []
    for one in sorted(found):
        if merged and one.start - merged[-1].end <= pause:
            last = merged[-1]
            merged[-1] = Spoken(last.start, max(one.end, last.end), max(last.behind, one.behind))
        else:
            merged.append(one)
    return merged


def evidence(
    samples: Samples, rate_hz: int, beside: Sequence[Span] = ()
) -> faint_speech.Evidence | None:
    """What there is to tell by, in one stretch of a recording; None where nothing stands out."""
    return _Recording(samples, rate_hz, beside).evidence()


def _bridged(spans: Sequence[Span], pause: int) -> list[Span]:
    merged: list[Span] = []
    for first, past in sorted(spans):
        if merged and first - merged[-1][1] <= pause:
            merged[-1] = merged[-1][0], max(past, merged[-1][1])
        else:
            merged.append((first, past))
    return merged


def _runs(flags: Flags) -> list[Span]:
    """Where flags are set: (first, the one after the last) of each run."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _widened(flags: Flags, hops: int) -> Flags:
    wide = np.zeros(flags.size, np.bool_)
    for first, past in _runs(flags):
        wide[max(0, first - hops) : past + hops] = True
    return wide


def _away_from(speech: Flags, usable: Flags, ms: int) -> Flags:
    return np.asarray(usable & ~_widened(speech & usable, ms // _HOP_MS))


def _is_enough(background: Flags) -> bool:
    return bool(background.sum() * _HOP_MS >= _LEAST_BACKGROUND_MS)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Energies of short pieces of the whitened recording, and what stands out."""

    size: int
    energies: NDArray[np.float64]
    least: float

    def first(self, low: int, high: int) -> int | None:
        """The first sample of the first piece between two samples that stands out."""
        loud = self._loud(low, high, 1)
        return (low // self.size + int(loud[0])) * self.size if loud.size else None

    def last(self, low: int, high: int) -> int | None:
        """The sample after the last such piece."""
        loud = self._loud(low, high, -1)
        return (low // self.size + int(loud[-1]) + 1) * self.size if loud.size else None

    def _loud(self, low: int, high: int, inwards: Literal[1, -1]) -> NDArray[np.intp]:
        """Which pieces stand out; one that is alone, none behind it inwards, by more than noise."""
        energies = self.energies[low // self.size : high // self.size]
        loud = energies > self.least
        behind = np.zeros_like(loud)
        for pieces in range(1, _LONE_BLOCKS + 1):
            if inwards == 1:
                behind[:-pieces] |= loud[pieces:]
            else:
                behind[pieces:] |= loud[:-pieces]
        return np.flatnonzero(loud & (behind | (energies > _LONE_ABOVE * self.least)))


class _Recording:
    """One stretch of a recording; see `spoken`."""

    def __init__(self, samples: Samples, rate_hz: int, beside: Sequence[Span]) -> None:
        self._rate_hz = rate_hz
        self._hop = rate_hz * _HOP_MS // 1000
        self._samples = samples
        self._powers, self._levels = self._in_bands()
        self._odds: NDArray[np.float32] | None = None
        hops = len(self._levels)
        self._usable = np.ones(hops, np.bool_)
        for first, past in beside:
            self._usable[
                max(0, first // self._hop - _SPILLED) : -(-past // self._hop) + _SPILLED
            ] = False
        self._blocks: _Blocks | None = None
        self._background, self._speech = self._told_apart(self._usable)
        for first, past in _bridged(_runs(self._speech), _UTTERANCE_MS // _HOP_MS):
            if self._is_flat(first, past):  # noise that has set in, with or without speech over it
                within = np.zeros(hops, np.bool_)
                within[first:past] = self._usable[first:past]
                background, speech = self._told_apart(within)
                self._background |= background
                self._speech[first:past] = speech[first:past]

    def spans(self) -> Iterator[Spoken]:
        """Stretches of speech, in order."""
        if not self._speech.any():
            return
        quiet = self._samples[np.repeat(self._background, self._hop).nonzero()[0]]
        centre = float(quiet.mean()) if quiet.size else 0.0
        loudest = noise = 0.0
        if quiet.size:
            sizes = np.abs(quiet - np.float32(centre))
            loudest = 1.1 * float(np.percentile(sizes, 99.99))
            noise = float(np.sqrt(np.square(sizes).mean()))
        hop = self._hop
        regions = [(first * hop, past * hop) for first, past in _runs(self._speech)]
        beside = self._of_ms(_BESIDE_MS)
        for low, high in _bridged(regions, self._of_ms(_SOURCE_MS)):
            around = self._samples[max(0, low - beside) : high + beside]
            level_dbfs = active_level.active_level_dbfs(around, self._rate_hz)
            if level_dbfs is None or level_dbfs < _LEAST_DBFS:
                continue
            behind = Behind.SILENCE
            if active_level.least_sample(level_dbfs) < loudest:
                behind = _behind(level_dbfs, noise)
            within = [one for one in regions if low <= one[0] < high]
            for first, past in _bridged(within, self._of_ms(_UTTERANCE_MS)):
                if behind is Behind.SILENCE:
                    found = list(self._exact(first, past, level_dbfs, centre))
                else:
                    found = list(
                        self._out_of_noise([one for one in within if first <= one[0] < past])
                    )
                    found = self._as_far_as_likely(found, first, past)
                if sum(end - start for start, end in found) >= self._of_ms(_NO_CLICK_MS):
                    yield from (Spoken(start, end, behind) for start, end in found)

    def _exact(self, first: int, past: int, level_dbfs: float, centre: float) -> Iterator[Span]:
        """By the definition, where the background is fainter than all that is part of the sound."""
        low = max(0, first - self._of_ms(_UTTERANCE_MS))
        piece = self._samples[low : past + self._of_ms(_UTTERANCE_MS)]
        if centre:
            piece = np.clip(piece - centre, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        least_dbfs = 20 * math.log10(_LEAST_SAMPLE / _FULL_SCALE) + active_level.BELOW_ACTIVE_DB
        level_dbfs = max(level_dbfs, least_dbfs)
        for start, end in active_level.stretches(piece, level_dbfs, self._of_ms(_KEPT_AWAY_MS)):
            if low + start < past and low + end > first and not self._is_beside(low + start):
                yield low + start, low + end

    def _is_beside(self, sample: int) -> bool:
        return not self._usable[min(sample // self._hop, self._usable.size - 1)]

    def _out_of_noise(self, regions: Sequence[Span]) -> Iterator[Span]:
        """By what stands out of the background, which is louder than the sound's own edges."""
        blocks = self._white_blocks()
        edge = self._of_ms(_EDGE_MS)
        for first, past in regions:
            spill = min(self._of_ms(_SPILL_MS), (past - first) // 3)
            start = blocks.first(first, min(past, first + edge))
            end = blocks.last(max(first, past - edge), past)
            start = first + spill if start is None else start
            end = past - spill if end is None else end
            if end > start:
                yield start, end

    def _as_far_as_likely(self, found: list[Span], first: int, past: int) -> list[Span]:
        """The stretches of an utterance between two samples, with all that likely belongs to it.

        A tone does not fade as a voice does.
        """
        if not found or torn_tone(self._samples[first:past], self._rate_hz, in_noise=True):
            return found
        hop = self._hop
        places = self._speech.nonzero()[0] * hop
        before, after = places[places < first], places[places >= past]
        most = faint_speech.FARTHEST_HOPS * hop
        low = max(int(before[-1]) + hop if before.size else 0, first - most)
        high = min(int(after[0]) if after.size else self._speech.size * hop, past + most)
        odds = self._log_odds()[low // hop : high // hop]
        start, end = (low + hop * hops for hops in _likeliest(odds - _LEAST_NATS))
        near, blocks = _NEAR_HOPS * hop, self._white_blocks()
        sharp_start = blocks.first(max(0, start - near), start + near)
        sharp_end = blocks.last(max(0, end - near), end + near)
        start = start if sharp_start is None else sharp_start
        end = end if sharp_end is None else sharp_end
        begins, ends = found[0][0], found[-1][1]
        blurred = self._of_ms(_BLURRED_MS)
        if start < begins - blurred:
            found[0] = start, found[0][1]
        if end > ends + blurred:
            found[-1] = found[-1][0], end
        return found

    def evidence(self) -> faint_speech.Evidence | None:
        """Of what is said, if anything stands out."""
        if not self._background.any() or not self._speech.any():
            return None
        each = 10 * np.log10(self._powers)
        return faint_speech.Evidence(
            each, self._levels, self._background, self._speech, self._usable
        )

    def _log_odds(self) -> NDArray[np.float32]:
        if self._odds is None:
            evidence = self.evidence()
            none = np.full(self._speech.size, -1.0, np.float32)
            self._odds = none if evidence is None else faint_speech.log_odds(evidence)
        return self._odds

    def _is_flat(self, first: int, past: int) -> bool:
        """Whether what goes on for so long has a level of its own that it falls back to: noise."""
        if (past - first) * _HOP_MS < _FLAT_MS:
            return False
        lowest, low = np.percentile(self._levels[first:past].mean(axis=1), (5, 30))
        return bool(low - lowest < _FLAT_DB) and self._is_above(lowest)

    def _is_above(self, level_db: float) -> bool:
        """Whether a level is not that of the background: pauses in speech fall back to it."""
        background = self._levels[self._background].mean(axis=1)
        return not background.size or level_db > float(np.median(background)) + _SET_IN_DB

    def _told_apart(self, usable: Flags) -> tuple[Flags, Flags]:
        """Which of the usable hops are background, and which are speech."""
        levels = self._levels
        nothing = np.zeros(usable.size, np.bool_)
        if usable.sum() * _HOP_MS < _LEAST_BACKGROUND_MS:
            return nothing, nothing
        above = levels - np.percentile(levels[usable], 15, axis=0)
        over = above.clip(0, 40).mean(axis=1)
        background = _away_from(~_lower_mode(over, usable), usable, 30)
        around = _smoothed(over[:, None], _QUIET_MS // _HOP_MS)[:, 0]
        if _is_uneven(around[background]):  # talk is among it
            low, usual = np.percentile(around[usable], (5, 25))
            quiet = around <= low + np.clip(2 * (usual - low), *_QUIETEST_DB)
            both = background & quiet
            background = both if _is_enough(both) else usable & quiet
        if not _is_enough(background):
            background = usable & (
                above.mean(axis=1) <= np.percentile(above[usable].mean(axis=1), 25)
            )
        speech = nothing
        for _ in range(_ROUNDS):
            score = np.where(usable, self._score(background), np.float32(0))
            middle, high = np.percentile(score[background], (50, 97))
            least = max(_LEAST_SCORE, high + _ABOVE * (high - middle))
            if least * _CLEARLY >= _MOST_SPREADS:  # nothing scores as much: there is sound among it
                background = background & (score <= middle)
                continue
            faint = middle + _FADES_TO * (high - middle)
            speech = self._regions(score, least, (high, faint)) & usable
            again = _away_from(speech, usable, _KEPT_AWAY_MS)
            if not _is_enough(again) or np.array_equal(again, background):
                break
            if _is_uneven(around[again]):
                break
            background = again
        return background, speech

    def _score(self, background: Flags) -> NDArray[np.float32]:
        """How far each hop is above the background, in its spreads: root mean square over bands."""
        usual = self._levels[background]
        middle = np.median(usual, axis=0)
        spread = np.maximum(_SPREAD_DB, 1.4826 * np.median(np.abs(usual - middle), axis=0))
        above = ((self._levels - middle) / spread).clip(0, _MOST_SPREADS)
        return np.asarray(np.sqrt(np.square(above).mean(axis=1)))

    def _regions(
        self, score: NDArray[np.float32], least: float, beside: tuple[float, float]
    ) -> Flags:
        """The hops of speech: what is surely above the background, and what goes on around it.

        Args:
            score: of each hop.
            least: of what is surely above.
            beside: what the background has, at most before a sound, which sets in at once, and
                often behind it, where it fades.
        """
        speech = np.zeros(score.size, np.bool_)
        clearly = score > least * _CLEARLY
        for first, past in _runs(score > least):
            speech[first:past] = clearly[first:past].sum() * _HOP_MS >= _LEAST_MS
        speech &= ~_often_alone(speech)
        speech &= ~_perhaps_noise(speech, score / least - 1)
        before, behind = np.maximum(beside, _LEAST_BESIDE)
        sharp = score > _SHARP * least
        found = _runs(speech)
        for number, (first, past) in enumerate(found):
            low = max(found[number - 1][1] if number else 0, first - _FADES_HOPS)
            following = found[number + 1][0] if number + 1 < len(found) else score.size
            high = min(following, past + _FADES_HOPS)
            earlier, later = score[low:first][::-1] - before, score[past:high] - behind
            sets_in, stops = (
                bool(sharp[place].any())
                for place in (slice(first, first + _EDGE_HOPS), slice(past - _EDGE_HOPS, past))
            )
            speech[first - _goes_on(earlier, is_sharp=sets_in) : first] = True
            speech[past : past + _goes_on(later, is_sharp=stops)] = True
        return speech

    def _in_bands(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of each hop in each band its power, and its level in dB, smoothed: (hops, bands)."""
        window, hop = self._rate_hz * _WINDOW_MS // 1000, self._hop
        wave = np.pad(
            self._samples.astype(np.float32), (window // 2 - hop // 2, window), mode="reflect"
        )
        shape = np.hanning(window + 2)[1:-1].astype(np.float32)
        edges = np.searchsorted(np.fft.rfftfreq(window, 1 / self._rate_hz), _BAND_EDGES_HZ)
        edges = np.unique(edges[edges <= window // 2])
        frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]
        frames = frames[: self._samples.size // hop]
        powers = np.zeros((len(frames), len(edges) - 1), np.float32)
        sounding = _sounding(wave, window, hop, len(frames))
        for first in range(0, sounding.size, _AT_ONCE):
            some = sounding[first : first + _AT_ONCE]
            spectrum = np.fft.rfft(frames[some] * shape, axis=1)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            sums = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
            powers[some] = sums / np.square(shape.sum())
        loudest = float(np.percentile(powers.sum(axis=1), 95))
        silent = _FULL_SCALE**2 * 10 ** (_SILENT_DBFS / 10)
        least = max(silent, loudest * 10 ** (-_DEPTH_DB / 10)) / powers.shape[1]
        levels = 10 * np.log10(_smoothed(powers, _SMOOTHED) + np.float32(least))
        powers += np.float32(least)
        return powers, np.asarray(levels)

    def _white_blocks(self) -> _Blocks:
        if self._blocks is None:
            mask = np.repeat(self._background, self._hop)
            wave = self._samples[: mask.size].astype(np.float64)
            start = int(mask.argmax())
            white = _whitened(wave, (wave * mask)[start:])
            size = round(_BLOCK_MS * self._rate_hz / 1000)
            count = white.size // size
            energies = np.square(white[: count * size]).reshape(count, size).mean(axis=1)
            of_background = energies[mask[: count * size : size]]
            least = _BLOCK_ABOVE * float(np.percentile(of_background, 97))
            self._blocks = _Blocks(size, energies, least)
        return self._blocks

    def _of_ms(self, ms: float) -> int:
        return round(ms * self._rate_hz / 1000)


def _often_alone(speech: Flags) -> Flags:
    """Short stretches that come again and again, each alone: notes that are struck, no words."""
    found = _runs(speech)
    short, apart = _STRUCK_MS // _HOP_MS, _ALONE_MS // _HOP_MS
    ends = [-apart, *(past for _, past in found)]
    begins = [*(first for first, _ in found), speech.size + apart]
    alone = [
        (first, past)
        for (first, past), before, after in zip(found, ends[:-1], begins[1:], strict=True)
        if past - first <= short and first - before >= apart and after - past >= apart
    ]
    flags = np.zeros(speech.size, np.bool_)
    quiet_ms = (speech.size - int(speech.sum())) * _HOP_MS
    if len(alone) >= _OFTEN and len(alone) * _OFTEN_MS >= quiet_ms:
        for first, past in alone:
            flags[first:past] = True
    return flags


def _perhaps_noise(speech: Flags, over: NDArray[np.float32]) -> Flags:
    """Stretches with nothing else near that stand out by no more than steady noise does by chance.

    Of 26,400 s of it 15 hold such a one, of 1.0 to 1.6. What stands out as little right beside
    speech is a part of that; so it is within a second of speech that noise hides the most of, whose
    faint words are like it.

    Args:
        speech: which hops may be speech.
        over: by how much each is above the least score of speech, in that score.
    """
    flags = np.zeros(speech.size, np.bool_)
    source = _SOURCE_MS // _HOP_MS
    for first, past in _bridged(_runs(speech), _NEAR_MS // _HOP_MS):
        if over[first:past].clip(0).sum() >= _LEAST_ALONE:
            continue
        around = [slice(max(0, first - source), first), slice(past, past + source)]
        beside = np.concatenate([over[part][speech[part]] for part in around])
        is_word = beside.sum() >= _LEAST_ALONE and np.median(beside) < _PLAIN
        flags[first:past] = not is_word
    return flags


def _behind(level_dbfs: float, noise: float) -> Behind:
    """What a background of so much is behind a sound of an active level."""
    below_db = level_dbfs - 20 * math.log10(noise / _FULL_SCALE)
    return next((one for one, least in _NOISES_DB if below_db >= least), Behind.LOUDEST_NOISE)


def _likeliest(odds: NDArray[np.float32]) -> Span:
    """The stretch with the greatest sum: from, and to before."""
    sums = np.concatenate(([0.0], np.cumsum(odds, dtype=np.float64)))
    past = int((sums - np.minimum.accumulate(sums)).argmax())
    return int(sums[: past + 1].argmin()), past


def _goes_on(over: NDArray[np.float32], *, is_sharp: bool) -> int:
    """For how many hops a sound goes on: to where the sum of what is over the usual is greatest.

    Beside an edge that is sharp it must be more than noise has now and then.
    """
    sums = np.cumsum(over)
    least = _FADES_EVIDENT if is_sharp else 0.0
    return int(sums.argmax()) + 1 if sums.size and sums.max() > least else 0


def _is_uneven(levels: NDArray[np.float64]) -> bool:
    """Whether what is taken for background is at times louder than it varies by itself."""
    if not levels.size:
        return False
    low, usual, high = np.percentile(levels, (5, 25, 95))
    return bool(usual > low and high - usual > _UNEVEN * (usual - low) + _UNEVEN_DB)


def _sounding(wave: Wave, window: int, hop: int, frames: int) -> NDArray[np.intp]:
    """Which frames hold any sample that is not zero: of a simulated call about half."""
    loud, starts = np.flatnonzero(wave), np.arange(frames) * hop
    return np.flatnonzero(np.searchsorted(loud, starts + window) > np.searchsorted(loud, starts))


def _lower_mode(values: NDArray[np.float32], usable: Flags) -> Flags:
    """Which values belong to the lower of two normal distributions (expectation, maximisation)."""
    some = np.sort(values[usable])
    some = some[:: max(1, some.size // _SOME)].astype(np.float64)
    lowest, low, usual, high = np.percentile(some, (5, 10, 25, 92))
    if usual - lowest < _NEAR_DB:
        middle, width = usual, max(0.5, usual - lowest)
    else:  # less than a quarter is background
        middle, width = low, 1.0
    lower = _Mode(middle, width, 0.6)
    upper = _Mode(max(high, middle + 1), max(1, (high - middle) / 3), 0.4)
    for _ in range(_STEPS):
        belongs = _belongs(some, lower, upper)
        total = belongs.sum() + 1e-6, (1 - belongs).sum() + 1e-6
        lower = _fitted(some, belongs, total[0], total[0] / sum(total), 0.3)
        upper = _fitted(some, 1 - belongs, total[1], total[1] / sum(total), 1.0)
    return np.asarray(((_belongs(values, lower, upper) > 0.5) | (values <= lower.middle)) & usable)


class _Mode(NamedTuple):
    """A normal distribution, and its share in a mixture."""

    middle: float
    spread: float
    share: float

    def nats(self, values: Wave) -> Wave:
        """How likely values come from it, in nats."""
        height = math.log(self.share) - math.log(self.spread)
        return np.asarray(height - np.square((values - self.middle) / self.spread) / 2)


def _fitted(values: Wave, belongs: Wave, total: float, share: float, least: float) -> _Mode:
    """The mode to which values belong so much each, `total` together."""
    middle = float(belongs.dot(values)) / total
    spread = math.sqrt(float(belongs.dot(np.square(values - middle))) / total)
    return _Mode(middle, max(least, spread), share)


def _belongs(values: Wave, lower: _Mode, upper: _Mode) -> Wave:
    """How likely values come from the lower of two modes, and not from the other."""
    against = upper.nats(values) - lower.nats(values)
    rest = np.exp(-np.abs(against))
    return np.asarray(np.where(against > 0, rest, 1.0) / (1 + rest))


def _smoothed(rows: NDArray[np.float32], hops: int) -> NDArray[np.float64]:
    """The mean over so many rows around each."""
    sums = np.cumsum(np.pad(rows.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    places = np.arange(len(rows))
    low = np.maximum(places - hops // 2, 0)
    high = np.minimum(places + hops // 2 + 1, len(rows))
    return np.asarray((sums[high] - sums[low]) / (high - low)[:, None])


def _whitened(wave: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """A wave through the filter that makes its background white (linear prediction)."""
    some = background[:_LEARNT_FROM]
    spectrum = np.fft.rfft(some, 2 * _LEARNT_FROM)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    like = np.fft.irfft(power)[: _ORDER + 1]
    if like[0] <= 0:
        return wave
    like[0] *= 1.001
    lags = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    taps = np.linalg.solve(like[lags], like[1:])
    return np.asarray(np.convolve(wave, np.concatenate(([1.0], -taps)))[: wave.size])
