"""The ears: what is heard in audio, live and afterwards, by one implementation.

`Ears` is fed audio as it comes and tells beeps and speech; the scripted caller listens with it
while the call runs. `segments` feeds it a whole recording, which is how every latency in a report
is measured. So the caller and the report never disagree about what was heard.

How: audio is cut into hops of 10 ms. A hop is *active* when its energy is above an absolute
threshold and above the noise floor, which is the minimum of the smoothed energy over the last two
seconds (Martin's minimum statistics, simplified). An active hop is *tonal* when a single sinusoid
explains it. A long enough run of tonal hops of one frequency is a beep; a run of other active hops
is speech. Only when something begins or ends is the hop searched for the exact sample, so edges
are finer than a hop.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

HOP_MS = 10
PAUSE_MS = 400
"""Silence up to this long does not end an utterance: people and synthesisers pause for commas."""

_FULL_SCALE = 32768.0
_QUIETEST_DBFS = -50.0  # telephone speech is 20 to 30 dB above, G.711's own noise 20 dB below
_LOUDEST_FLOOR_DBFS = -32.0  # a "floor" above this is not noise any more, it is talk without pauses
_ABOVE_FLOOR_DB = 9.0
_FLOOR_BLOCK_HOPS = 40
_FLOOR_BLOCKS = 5  # the floor looks back 5 blocks of 400 ms
_SMOOTHING = 0.7  # of the energy that the floor is taken from: a time constant of about 30 ms
_CLICK_GAP_HOPS = 3  # a candidate for speech that is silent this long was a click
_TONE_LOWEST_HZ, _TONE_HIGHEST_HZ = 300.0, 1800.0  # below is the pitch of voices
_TONE_IMPURITY = 0.02  # how far a tonal hop may be from a sinusoid (G.711: 0.001, 20 dB SNR: 0.01)
_TONE_DRIFT = 0.08  # a hop of 10 ms tells a frequency no better than this
_TONE_GAP_HOPS = 5  # a lost packet or two do not end a beep
_BEEP_HOPS = 10  # shorter tones occur in speech
_BEEP_COHERENCE = 0.85  # share of a beep's energy at one constant frequency: a sung vowel has less
_BEEP_ANALYSED_HOPS = 100

Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BeepHeard:
    """A steady tone, told when it has ended. Samples count from the first one fed."""

    onset: int
    end: int
    hz: float


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


def segments(
    samples: NDArray[np.int16], rate_hz: int, *, hangover_ms: int = 60, clean: bool = False
) -> list[Segment]:
    """Everything heard in a recording of one channel, in order, down to pauses of `hangover_ms`.

    In a `clean` recording there is no noise at the beginning to be learnt from: it may begin with
    speech.
    """
    floor_dbfs = None if clean else _opening_floor_dbfs(samples, rate_hz)
    ears = Ears(rate_hz, hangover_ms=hangover_ms, floor_dbfs=floor_dbfs)
    found = []
    onset = 0
    for heard in [*ears.feed(samples), *ears.finish()]:
        match heard:
            case BeepHeard():
                found.append(Segment("beep", heard.onset, heard.end, heard.hz))
            case SpeechStarted():
                onset = heard.sample
            case SpeechEnded():
                found.append(Segment("speech", onset, heard.sample))
    return sorted(found, key=lambda s: s.start)


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
            merged[-1] = Segment("speech", last.start, segment.end)
        else:
            merged.append(segment)
    return merged


class Ears:
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
        self._lag = rate_hz // 4000
        self._hz_per_radian = rate_hz / (2 * math.pi * self._lag)
        self._rest = np.empty(0, np.int16)
        self._hops_fed = 0
        self._floor = _Floor(self._hop, floor_dbfs)
        self._tones = _Tones(rate_hz)
        self._speech = _Speech(hangover_ms // HOP_MS, min_speech_ms // HOP_MS)

    @property
    def speaking(self) -> bool:
        """Whether speech has started and not ended."""
        return self._speech.speaking

    def feed(self, audio: bytes | NDArray[np.int16]) -> list[Heard]:
        """Hear some more audio (PCM, 16 bit, mono), of any length, and tell what became clear."""
        samples = np.frombuffer(audio, "<i2") if isinstance(audio, bytes) else audio
        if self._rest.size:
            samples = np.concatenate((self._rest, samples))
        whole = samples.size - samples.size % self._hop
        self._rest = samples[whole:]
        heard: list[Heard] = []
        if not (samples.any() or self._tones.open or self._speech.busy):
            self._skip(whole)  # digital silence, the commonest frame of a simulated call
            return heard
        wave = samples[:whole].astype(np.float32)
        for start in range(0, whole, self._hop):
            self._hear(wave[start : start + self._hop], heard)
        return heard

    def finish(self) -> list[Heard]:
        """The audio is over: tell what was still open."""
        heard: list[Heard] = []
        for hop in self._tones.close(heard):
            self._speech.hear(hop, heard)
        self._speech.close(heard)
        return heard

    def _skip(self, whole: int) -> None:
        hops = whole // self._hop
        self._hops_fed += hops
        self._floor.update_silent(hops)

    def _hear(self, row: Wave, heard: list[Heard]) -> None:
        energy = float(row.dot(row))
        hop = _Hop(self._hops_fed, row, energy > self._floor.threshold, self._floor.threshold)
        self._hops_fed += 1
        hz = None
        if hop.active and (self._tones.open or not self._speech.speaking):
            hz = _pure_tone_hz(row, self._lag, self._hz_per_radian)
        if hz is None:
            self._floor.update(energy)
            if not self._tones.open:
                self._tones.before = hop
                self._speech.hear(hop, heard)
                return
        for released in self._tones.hear(hop, hz, heard):
            self._speech.hear(released, heard)


class _Hop:
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


class _Floor:
    """The noise floor, and the threshold (energy of a hop) that follows from it."""

    def __init__(self, hop: int, floor_dbfs: float | None) -> None:
        self.lowest_threshold = _energy(_QUIETEST_DBFS, hop)
        self._factor = 10 ** (_ABOVE_FLOOR_DB / 10)
        self._highest_floor = _energy(_LOUDEST_FLOOR_DBFS, hop)
        known = 0.0 if floor_dbfs is None else _energy(floor_dbfs, hop)
        self._blocks = deque([known] * _FLOOR_BLOCKS, _FLOOR_BLOCKS)
        self._smooth = known
        self._lowest = math.inf
        self._in_block = 0
        self.threshold = 0.0
        self._set_threshold()

    def update(self, energy: float) -> None:
        self._smooth += (1 - _SMOOTHING) * (energy - self._smooth)
        if self._smooth < self._lowest:
            self._lowest = self._smooth
        self._in_block += 1
        if self._in_block == _FLOOR_BLOCK_HOPS:
            self._blocks.append(self._lowest)
            self._lowest = math.inf
            self._in_block = 0
            self._set_threshold()

    def update_silent(self, hops: int) -> None:
        """The next hops are digital silence."""
        for _ in range(hops):
            self.update(0.0)

    def _set_threshold(self) -> None:
        floor = min(min(self._blocks), self._highest_floor)
        self.threshold = max(self.lowest_threshold, floor * self._factor)


class _Tones:
    """Finds beeps, and hands on the hops that are in none of them."""

    def __init__(self, rate_hz: int) -> None:
        self.before: _Hop | None = None
        """The hop before the tone."""
        self._rate_hz = rate_hz
        self._held: list[_Hop] = []  # of the tone, up to as much as is analysed
        self._tail: list[_Hop] = []  # that came after the tone's last hop
        self._last: _Hop | None = None
        self._hz = 0.0

    @property
    def open(self) -> bool:
        """Whether something that may become a beep goes on."""
        return bool(self._held)

    def hear(self, hop: _Hop, hz: float | None, heard: list[Heard]) -> list[_Hop]:
        """Take a hop, with its frequency if it is tonal; hand on those that are in no beep."""
        if not self._held and hz is not None:
            self._held, self._hz, self._last = [hop], hz, hop
            return []
        if hz is not None and abs(hz - self._hz) < _TONE_DRIFT * self._hz:
            self._extend(hop)
            return []
        self._tail.append(hop)
        return self.close(heard) if len(self._tail) >= _TONE_GAP_HOPS else []

    def close(self, heard: list[Heard]) -> list[_Hop]:
        """Decide about the open tone, if any: tell it, or hand its hops on as something else."""
        released = self._tail
        if self._held:
            beep = self._analyse()
            if beep is None:
                released = self._held + self._tail
            else:
                heard.append(beep)
        self._held, self._tail = [], []
        self.before = released[-1] if released else None
        return released

    def _extend(self, hop: _Hop) -> None:
        self._last = hop
        if len(self._held) + len(self._tail) < _BEEP_ANALYSED_HOPS:
            self._held += [*self._tail, hop]
        self._tail = []

    def _analyse(self) -> BeepHeard | None:
        first, last = self._held[0], self._last
        if last is None or last.index - first.index + 1 < _BEEP_HOPS:
            return None
        wave = np.concatenate([hop.row for hop in self._held])
        hz, coherence = _steady_tone(wave, self._hz, self._rate_hz)
        if coherence < _BEEP_COHERENCE:
            return None
        following = self._tail[0] if self._tail else None
        return BeepHeard(
            onset=_onset(self.before, first),
            end=_end(last, following),
            hz=hz,
        )


class _Speech:
    """Finds speech in the hops that are no beep."""

    def __init__(self, hangover_hops: int, min_hops: int) -> None:
        self._hangover_hops = max(1, hangover_hops)
        self._min_hops = max(1, min_hops)
        self.speaking = False
        self._before: _Hop | None = None
        self._last: _Hop | None = None  # the last active hop
        self._onset = 0
        self._end = 0
        self._quiet = 0  # hops since the last active one
        self._active_hops = 0

    @property
    def busy(self) -> bool:
        """Whether something has sounded that may be speech, or speech has not ended."""
        return self._last is not None

    def hear(self, hop: _Hop, heard: list[Heard]) -> None:
        if hop.active:
            self._voiced(hop, heard)
        elif self._last is not None:
            self._silent(self._last, hop, heard)
        self._before = hop

    def close(self, heard: list[Heard]) -> None:
        """The audio is over."""
        if self.speaking and self._last is not None:
            heard.append(SpeechEnded(_end(self._last, None) if self._quiet == 0 else self._end))
        self._reset()

    def _voiced(self, hop: _Hop, heard: list[Heard]) -> None:
        if self._last is None:
            self._onset = _onset(self._before, hop)
        self._last = hop
        self._quiet = 0
        self._active_hops += 1
        if not self.speaking and self._active_hops >= self._min_hops:
            self.speaking = True
            heard.append(SpeechStarted(self._onset))

    def _silent(self, last: _Hop, hop: _Hop, heard: list[Heard]) -> None:
        if self._quiet == 0:
            self._end = _end(last, hop)
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


def _onset(before: _Hop | None, first: _Hop) -> int:
    """The first sample that stands out, in the first active hop or at the end of the one before."""
    if before is not None and before.index == first.index - 1:
        early = before.loud()
        if early.any():
            return before.index * before.row.size + int(early.argmax())
    return first.index * first.row.size + int(first.loud().argmax())


def _end(last: _Hop, following: _Hop | None) -> int:
    """One after the last sample that stands out, in the last active hop or just after it."""
    if following is not None and following.index == last.index + 1:
        late = following.loud()
        if late.any():
            return (following.index + 1) * late.size - int(late[::-1].argmax())
    return (last.index + 1) * last.row.size - int(last.loud()[::-1].argmax())


def _pure_tone_hz(row: Wave, lag: int, hz_per_radian: float) -> float | None:
    """The frequency of a hop that is one sinusoid, to some percent; None if it is not one.

    A sinusoid obeys x[n+lag] + x[n-lag] = 2 cos(w lag) x[n]; how far a hop is from that, against
    what the left side could be at most, is its impurity.
    """
    middle = row[lag:-lag]
    sides = row[2 * lag :] + row[: -2 * lag]
    cross = float(middle.dot(sides))
    power = float(middle.dot(middle))
    rest = float(sides.dot(sides)) - cross * cross / power if power else 0.0
    if rest >= _TONE_IMPURITY * 4 * power:
        return None
    hz = math.acos(max(-1.0, min(1.0, cross / (2 * power)))) * hz_per_radian
    return hz if _TONE_LOWEST_HZ < hz < _TONE_HIGHEST_HZ else None


def _steady_tone(wave: Wave, near_hz: float, rate_hz: int) -> tuple[float, float]:
    """The frequency of a tone near `near_hz`, and the share of the energy that it explains.

    The peak of a zero-padded spectrum, then refined by the phase that is left between the two
    halves of the tone (error below 0.1 Hz for 400 ms over G.711).
    """
    size = 8192 * max(1, rate_hz // 8000)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size), size))
    hz_per_bin = rate_hz / size
    low = max(1, int(near_hz * (1 - 2 * _TONE_DRIFT) / hz_per_bin))
    high = int(near_hz * (1 + 2 * _TONE_DRIFT) / hz_per_bin) + 2
    hz = (low + int(spectrum[low:high].argmax())) * hz_per_bin
    half = wave.size // 2
    base = wave[: 2 * half] * _carrier(hz, 2 * half, rate_hz)
    turn = float(np.angle(base[half:].sum() * np.conj(base[:half].sum())))
    hz += turn * rate_hz / (2 * math.pi * half)
    explained = 2 * abs(np.dot(wave, _carrier(hz, wave.size, rate_hz))) ** 2 / wave.size
    return hz, float(explained / np.dot(wave, wave))


def _carrier(hz: float, count: int, rate_hz: int) -> NDArray[np.complex128]:
    wave: NDArray[np.complex128] = np.exp(-2j * np.pi * hz / rate_hz * np.arange(count))
    return wave


def _energy(dbfs: float, samples: int) -> float:
    """The energy of so many samples at a level."""
    return float(samples * _FULL_SCALE**2 * 10 ** (dbfs / 10))


def _opening_floor_dbfs(samples: NDArray[np.int16], rate_hz: int) -> float | None:
    """The floor of a recording's first two seconds: afterwards it is known from the start."""
    hop = rate_hz * HOP_MS // 1000
    count = min(samples.size // hop, _FLOOR_BLOCK_HOPS * _FLOOR_BLOCKS)
    if count < _FLOOR_BLOCK_HOPS:
        return None
    rows = samples[: count * hop].reshape(count, hop).astype(np.float32)
    blocks = np.vecdot(rows, rows)[: count // 4 * 4].reshape(-1, 4).mean(axis=1)
    lowest = float(blocks.min()) / hop / _FULL_SCALE**2
    return 10 * math.log10(lowest) if lowest > 0 else None
