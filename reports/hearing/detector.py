"""Detects speech and tones in audio, live and afterwards, by one implementation.

`SpeechAndToneDetector` is fed audio as it comes and reports beeps and speech; the scripted caller
listens with it while the call runs. `segments` feeds it a whole recording, which is how every
latency in a report is measured. So the caller and the report never disagree about what was heard.

How: audio is cut into hops of 10 ms. A hop is *active* when its energy is above an absolute
threshold and above the noise floor, which is the minimum of the smoothed energy over the last two
seconds (Martin's minimum statistics, simplified). An active hop is *tonal* when a single sinusoid
explains it. A long enough run of tonal hops of one frequency is a beep; a run of other active hops
is speech. Only when something begins or ends is the hop searched for the exact sample, so edges
are finer than a hop.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing import retrospect
from callerside.reports.hearing.frame import HOP_MS, AnalysisFrame, Wave, end_of, onset_of
from callerside.reports.hearing.noise_floor import NoiseFloor, opening_floor_dbfs
from callerside.reports.hearing.retrospect import Behind
from callerside.reports.hearing.tone_detector import (
    BeepHeard,
    Tones,
    ToneTest,
    edges_in_noise,
    is_of_tone,
    torn_tone,
)

PAUSE_MS = 400
"""Silence up to this long does not end an utterance: people and synthesisers pause for commas."""

_MANY_HOPS = 1 << 40  # more than any recording has
_TORN_MS = 100  # a lost packet, or several
_TONE_TRIES = 5
_CLICK_GAP_HOPS = 3  # a candidate for speech that is silent this long was a click

__all__ = [
    "PAUSE_MS",
    "BeepHeard",
    "Heard",
    "Segment",
    "SpeechAndToneDetector",
    "SpeechEnded",
    "SpeechStarted",
    "listened",
    "segments",
    "utterances",
]


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech: `sample` is its onset."""

    sample: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Silence for as long as the hangover: `sample` is the one after the last voiced."""

    sample: int


Heard = BeepHeard | SpeechStarted | SpeechEnded


@dataclass(frozen=True, slots=True)
class Segment:
    """Something heard in a recording: samples `start` (inclusive) to `end` (exclusive)."""

    kind: Literal["beep", "speech"]
    start: int
    end: int
    hz: float | None = None
    behind: Behind = Behind.SILENCE
    """What is behind it: silence, or noise that is louder than its edges."""


def segments(samples: NDArray[np.int16], rate_hz: int, *, hangover_ms: int = 60) -> list[Segment]:
    """Everything heard in a recording of one channel, in order, down to pauses of `hangover_ms`.

    Tones are found as a caller finds them who listens, and looked at again where noise is under
    them; speech is as `retrospect` has it.
    """
    found = [
        _out_of_noise(Segment("beep", one.onset, one.end, one.hz), samples, rate_hz)
        for one in listened(samples, rate_hz, hangover_ms=hangover_ms)
        if isinstance(one, BeepHeard)
    ]
    beside = [(one.start, one.end) for one in found]
    spans = retrospect.spoken(samples, rate_hz, pause_ms=hangover_ms, beside=beside)
    for one in spans:
        found.append(_named(one, samples, rate_hz, [beep for beep in found if beep.hz]))
    return sorted(found, key=lambda s: s.start)


def _named(
    one: retrospect.Spoken, samples: NDArray[np.int16], rate_hz: int, beeps: list[Segment]
) -> Segment:
    """A stretch as what it is: a tone in noise is no one's speech, nor a piece of a torn beep."""
    sound = samples[one.start : one.end]
    hz = torn_tone(sound, rate_hz, in_noise=one.behind is not Behind.SILENCE)
    far = _TORN_MS * rate_hz // 1000
    for beep in beeps:
        is_near = one.start - beep.end < far and beep.start - one.end < far
        if hz is None and is_near and is_of_tone(sound, beep.hz or 0.0, rate_hz):
            hz = beep.hz
    if hz is None:
        return Segment("speech", one.start, one.end, behind=one.behind)
    return _out_of_noise(
        Segment("beep", one.start, one.end, hz, behind=one.behind), samples, rate_hz
    )


def _out_of_noise(beep: Segment, samples: NDArray[np.int16], rate_hz: int) -> Segment:
    """A tone with its edges as they are under noise, if there is any.

    From edges that were found they are looked for again: it may have been a piece that was heard.
    """
    for _ in range(_TONE_TRIES):
        edges = edges_in_noise(samples, beep.start, beep.end, beep.hz or 0.0, rate_hz)
        if edges is None or edges == (beep.start, beep.end):
            break
        beep = replace(beep, start=edges[0], end=edges[1], behind=Behind.NOISE)
    return beep


def listened(samples: NDArray[np.int16], rate_hz: int, *, hangover_ms: int = 60) -> list[Heard]:
    """What somebody hears of a recording who listens while it plays, and knows its first noise."""
    floor_dbfs = opening_floor_dbfs(samples, rate_hz)
    detector = SpeechAndToneDetector(rate_hz, hangover_ms=hangover_ms, floor_dbfs=floor_dbfs)
    return [*detector.feed(samples), *detector.finish()]


def utterances(found: list[Segment], rate_hz: int, *, pause_ms: float = PAUSE_MS) -> list[Segment]:
    """Speech merged over pauses of up to `pause_ms`; beeps stay as they are and part utterances."""
    merged: list[Segment] = []
    for segment in found:
        last = merged[-1] if merged else None
        if (
            last is not None
            and segment.kind == last.kind == "speech"
            and segment.start - last.end <= pause_ms * rate_hz / 1000
        ):
            behind = max(last.behind, segment.behind)
            merged[-1] = Segment("speech", last.start, segment.end, behind=behind)
        else:
            merged.append(segment)
    return merged


class SpeechAndToneDetector:
    """Hears one channel.

    Args:
        rate_hz: of the audio, a multiple of 100.
        hangover_ms: silence for this long ends speech.
        min_speech_ms: anything shorter is a click, not speech.
        floor_dbfs: level of the noise that is already known to be there.
    """

    def __init__(
        self,
        rate_hz: int,
        *,
        hangover_ms: int = PAUSE_MS,
        min_speech_ms: int = 30,
        floor_dbfs: float | None = None,
    ) -> None:
        if rate_hz < 8000 or rate_hz % 100:
            raise ValueError(f"rate {rate_hz} Hz, expected a multiple of 100 from 8000 up")
        self._hop = rate_hz * HOP_MS // 1000
        self._tone_test = ToneTest(rate_hz)
        self._waiting: list[NDArray[np.int16]] = []
        self._waiting_samples = 0
        self._enough_samples = self._hop
        self._known_samples = 0
        self._hops_fed = 0
        self._floor = NoiseFloor(self._hop, floor_dbfs)
        self._tones = Tones(rate_hz)
        self._speech = _Speech(hangover_ms // HOP_MS, min_speech_ms // HOP_MS)

    @property
    def idle(self) -> bool:
        """Whether nothing sounds, or did a moment ago: digital silence brings nothing for ever."""
        return not (self._waiting or self._known_samples or self._tones.open or self._speech.busy)

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended."""
        return self._speech.speaking

    def feed(self, audio: bytes | NDArray[np.int16]) -> list[Heard]:
        """Hear some more audio (PCM, 16 bit, mono), of any length, and return what became clear.

        Audio that cannot make anything clear, whatever is in it, waits until so much has come that
        the rest might: hops are cheaper by the dozen, and nothing is reported any later for it.
        """
        if self._known_samples:
            known, self._known_samples = self._known_samples, 0
            audio = audio[2 * known if isinstance(audio, bytes) else known :]
        if self._hears_nothing_in(audio):
            self._skip(len(audio) // 2)
            return []
        samples = np.frombuffer(audio, "<i2") if isinstance(audio, bytes) else audio
        self._waiting.append(samples)
        self._waiting_samples += samples.size
        if self._waiting_samples < self._enough_samples:
            return []
        return self._hear_waiting()

    def routine_samples(self, coming: bytes, frame_samples: int) -> int:
        """How much of the audio that is coming brings nothing new.

        Args:
            coming: what is fed next, in one piece, if it is as much as is answered here.
            frame_samples: the answer is a multiple of it; a multiple of 10 ms.
        """
        if self._waiting_samples >= self._hop:
            self._hear_waiting()  # it brings nothing, or it would not have waited
        start = self._known_samples
        if not start and self._hears_nothing_in(coming):
            return len(coming) // 2
        samples = np.frombuffer(coming, "<i2")
        while start < samples.size and not self._waiting:
            unclear = (self._enough_samples - self._hop) // frame_samples * frame_samples
            self._waiting = [samples[start : start + unclear]]
            start += self._waiting[0].size
            self._hear_waiting()
            if not unclear:
                break
        self._known_samples = start
        return start

    def finish(self) -> list[Heard]:
        """The audio is over: return what was still open."""
        heard = self._hear_waiting() if self._waiting else []
        self._report(*self._tones.close(), heard)
        self._speech.close(heard)
        return heard

    def _hears_nothing_in(self, audio: bytes | NDArray[np.int16]) -> bool:
        """Whether it is digital silence, the commonest frame of a simulated call, amid silence."""
        return (
            isinstance(audio, bytes)
            and audio == bytes(len(audio))
            and not len(audio) % (2 * self._hop)
            and self.idle
        )

    def _skip(self, whole: int) -> None:
        hops = whole // self._hop
        self._hops_fed += hops
        self._floor.update_silent(hops)

    def _hear_waiting(self) -> list[Heard]:
        """Hear every whole hop that waits."""
        heard: list[Heard] = []
        samples = np.concatenate(self._waiting)
        whole = samples.size - samples.size % self._hop
        rows = samples[:whole].reshape(-1, self._hop).astype(np.float32)
        self._hear_rows(rows, heard)
        self._waiting = [samples[whole:]] if whole < samples.size else []
        self._waiting_samples = samples.size - whole
        unclear = self._tones.unclear_hops if self._tones.open else self._speech.unclear_hops
        self._enough_samples = (unclear + 1) * self._hop
        return heard

    def _hear_rows(self, rows: NDArray[np.float32], heard: list[Heard]) -> None:
        """Hear hops. Most are amid speech or amid silence, and change nothing but the floor."""
        floor = self._floor
        energies = np.vecdot(rows, rows).tolist()
        number = 0
        while number < len(energies):
            first, threshold = number, floor.threshold
            ordinary, most = (None, 0) if self._tones.open else self._speech.ordinary
            last = min(len(energies), first + floor.steady_hops, first + most)
            while number < last and (energies[number] > threshold) is ordinary:
                number += 1
            if number > first:
                floor.update_all(energies[first:number])
                self._pass_by(number - first, rows[number - 1], threshold)
            else:
                self._hear(rows[number], energies[number], heard)
                number += 1

    def _pass_by(self, count: int, row: Wave, threshold: float) -> None:
        """Take note of ordinary hops; `row` and `threshold` are of the last."""
        self._hops_fed += count
        active = self._speech.ordinary[0] is True
        last = AnalysisFrame(self._hops_fed - 1, row, active, threshold)
        self._tones.before = last
        self._speech.pass_by(count, last)

    def _hear(self, row: Wave, energy: float, heard: list[Heard]) -> None:
        frame = AnalysisFrame(
            self._hops_fed, row, energy > self._floor.threshold, self._floor.threshold
        )
        self._hops_fed += 1
        hz = None
        if frame.active and (self._tones.open or not self._speech.speaking):
            hz = self._tone_test.hz_of(row)
        if hz is None:
            self._floor.update(energy)
            if not self._tones.open:
                self._tones.before = frame
                self._speech.hear(frame, heard)
                return
        beep, released = self._tones.hear(frame, hz)
        self._report(beep, released, heard)

    def _report(
        self, beep: BeepHeard | None, released: list[AnalysisFrame], heard: list[Heard]
    ) -> None:
        if beep is not None:
            heard.append(beep)
        for frame in released:
            self._speech.hear(frame, heard)


class _Speech:
    """Finds speech in the hops that are no beep."""

    def __init__(self, hangover_hops: int, min_hops: int) -> None:
        self._hangover_hops = max(1, hangover_hops)
        self._min_hops = max(1, min_hops)
        self.speaking = False
        self._before: AnalysisFrame | None = None
        self._last: AnalysisFrame | None = None  # the last active hop
        self._onset = 0
        self._end = 0
        self._quiet = 0  # hops since the last active one
        self._active_hops = 0

    @property
    def busy(self) -> bool:
        """Whether something has sounded that may be speech, or speech has not ended."""
        return self._last is not None

    @property
    def unclear_hops(self) -> int:
        """So many hops more make nothing clear, whatever is in them."""
        if self.speaking:
            return self._hangover_hops - self._quiet - 1
        return self._min_hops - self._active_hops - 1

    def hear(self, frame: AnalysisFrame, heard: list[Heard]) -> None:
        if frame.active:
            self._voiced(frame, heard)
        elif self._last is not None:
            self._silent(self._last, frame, heard)
        self._before = frame

    @property
    def ordinary(self) -> tuple[bool | None, int]:
        """Which hops begin and end nothing now, active ones or others, and how many in a row.

        Active ones amid speech, others amid silence or a pause, and (None) none at other times.
        """
        if self.speaking:
            if not self._quiet:
                return True, _MANY_HOPS
            return False, self._hangover_hops - self._quiet - 1
        return (None, 0) if self.busy else (False, _MANY_HOPS)

    def pass_by(self, count: int, last: AnalysisFrame) -> None:
        """Several `ordinary` hops more."""
        if last.active:
            self._last = last
            self._active_hops += count
        elif self.speaking:
            self._quiet += count
        self._before = last

    def close(self, heard: list[Heard]) -> None:
        """The audio is over."""
        if self.speaking and self._last is not None:
            heard.append(SpeechEnded(end_of(self._last, None) if self._quiet == 0 else self._end))
        self._reset()

    def _voiced(self, frame: AnalysisFrame, heard: list[Heard]) -> None:
        if self._last is None:
            self._onset = onset_of(self._before, frame)
        self._last = frame
        self._quiet = 0
        self._active_hops += 1
        if not self.speaking and self._active_hops >= self._min_hops:
            self.speaking = True
            heard.append(SpeechStarted(self._onset))

    def _silent(self, last: AnalysisFrame, frame: AnalysisFrame, heard: list[Heard]) -> None:
        if self._quiet == 0:
            self._end = end_of(last, frame)
        self._quiet += 1
        if self.speaking and self._quiet >= self._hangover_hops:
            heard.append(SpeechEnded(self._end))
            self._reset()
        elif not self.speaking and self._quiet >= _CLICK_GAP_HOPS:
            self._reset()

    def _reset(self) -> None:
        self.speaking = False
        self._last = None
        self._quiet = 0
        self._active_hops = 0
