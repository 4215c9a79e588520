"""Beeps: steady tones of one frequency, distinguished from speech."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from callerside.reports.hearing.frame import AnalysisFrame, Wave, end_of, onset_of, silent

_TONE_LOWEST_HZ = 300.0  # below is the pitch of voices
_TONE_HIGHEST_HZ = 3400.0  # of a telephone's line
_HALF_TURN_HZ = 2000.0  # above, a tone turns by more than half in the lag that is looked at
_PERIODIC = 0.95  # correlation of a hop with itself, a period later, of a tone with overtones
_TONE_IMPURITY = 0.02  # how far a tonal hop may be from a sinusoid (G.711: 0.001, 20 dB SNR: 0.01)
_TONE_DRIFT = 0.08  # a hop of 10 ms gives a frequency no better than this
_TONE_GAP_HOPS = 5  # a lost packet or two do not end a beep
_BEEP_HOPS = 10  # shorter tones occur in speech
_OVERTONES = 5  # a tone that an amplifier clips has them, the odd ones
_OF_ITS_OWN = (
    0.7  # share of its energy that a tone's own frequency has at least: a voice's has less
)
_BEEP_COHERENCE = 0.85  # share of a beep's energy at one constant frequency: a sung vowel has less
_BEEP_ANALYSED_HOPS = 100
_TORN_S = 0.2, 2.0  # from, to: a tone that has noise under it, or is torn
_TORN_PIECE_S, _TORN_FFT = 0.05, 16384  # of its longest piece at least
_TORN_LOBE = 0.5  # of its energy is near one frequency
_HOLE_MS, _SILENT = 2, 0.02
_COHERENT_S = 0.1
_EXACT_DB = 30.0  # below a tone, or less, what else is in it moves no edge
_EXACT_PIECE_MS = 20  # in the purest of its pieces: others may be torn
_EDGE_INSIDE_MS = 20, 120  # from its edge on: where it is learnt what the tone is like there
_EDGE_AROUND_MS = 130


@dataclass(frozen=True, slots=True)
class BeepHeard:
    """A steady tone, reported when it has ended. Samples count from the first one fed."""

    onset: int
    end: int
    hz: float


class Tones:
    """Finds beeps, and hands on the hops that are in none of them."""

    def __init__(self, rate_hz: int) -> None:
        self.before: AnalysisFrame | None = None
        """The hop before the tone."""
        self._rate_hz = rate_hz
        self._held: list[AnalysisFrame] = []  # of the tone, up to as much as is analysed
        self._tail: list[AnalysisFrame] = []  # that came after the tone's last hop
        self._last: AnalysisFrame | None = None
        self._hz = 0.0

    @property
    def open(self) -> bool:
        """Whether something that may become a beep goes on."""
        return bool(self._held)

    @property
    def unclear_hops(self) -> int:
        """So many hops more end no tone that is open, whatever is in them."""
        return _TONE_GAP_HOPS - len(self._tail) - 1

    def hear(
        self, frame: AnalysisFrame, hz: float | None
    ) -> tuple[BeepHeard | None, list[AnalysisFrame]]:
        """Take a hop, with its frequency if it is tonal.

        Tells a beep that has ended, and hands on the hops that are in none.
        """
        if not self._held and hz is not None:
            self._held, self._hz, self._last = [frame], hz, frame
            return None, []
        if hz is not None and abs(hz - self._hz) < _TONE_DRIFT * self._hz:
            self._extend(frame)
            return None, []
        self._tail.append(frame)
        return self.close() if len(self._tail) >= _TONE_GAP_HOPS else (None, [])

    def close(self) -> tuple[BeepHeard | None, list[AnalysisFrame]]:
        """Decide about the open tone, if any: a beep, or hops of something else."""
        beep = self._analyse() if self._held else None
        released = self._tail if beep else self._held + self._tail
        if beep is None and self._stood_alone():
            released = [silent(frame) for frame in released]
        self._held, self._tail = [], []
        self.before = released[-1] if released else None
        return beep, released

    def _stood_alone(self) -> bool:
        """Whether silence follows, though for one hop in which it ends: a tone that was cut off.

        Nobody says a syllable that is one sinusoid from silence to silence. An agent whose waiting
        tone gives way to its answer leaves such a piece, and it is not the answer.
        """
        return bool(self._tail) and not any(frame.active for frame in self._tail[1:])

    def _extend(self, frame: AnalysisFrame) -> None:
        self._last = frame
        if len(self._held) + len(self._tail) < _BEEP_ANALYSED_HOPS:
            self._held += [*self._tail, frame]
        self._tail = []

    def _analyse(self) -> BeepHeard | None:
        first, last = self._held[0], self._last
        if last is None or last.index - first.index + 1 < _BEEP_HOPS:
            return None
        wave = np.concatenate([frame.row for frame in self._held])
        hz, coherence = _steady_tone(wave, self._hz, self._rate_hz)
        if coherence < _OF_ITS_OWN:
            return None
        if coherence < _BEEP_COHERENCE:
            overtones = range(2, min(_OVERTONES, int(self._rate_hz / 2 / hz)) + 1)
            carriers = (_carrier(number * hz, wave.size, self._rate_hz) for number in overtones)
            coherence += sum(_coherence(wave, one, self._rate_hz) for one in carriers)
            if coherence < _BEEP_COHERENCE:
                return None
        following = self._tail[0] if self._tail else None
        return BeepHeard(
            onset=onset_of(self.before, first),
            end=end_of(last, following),
            hz=hz,
        )


class ToneTest:
    """Whether ten milliseconds are one sinusoid."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._lag = rate_hz // 4000
        self._hz_per_radian = rate_hz / (2 * math.pi * self._lag)

    def hz_of(self, row: Wave) -> float | None:
        """The frequency of a hop that is one sinusoid, to some percent; None if it is not one.

        A sinusoid obeys x[n+lag] + x[n-lag] = 2 cos(w lag) x[n]; how far a hop is from that,
        against what the left side could be at most, is its impurity.
        """
        hz = self._sinusoid(row, self._lag)
        if hz is None:
            hz = self._with_overtones(row)
        else:
            finer = self._sinusoid(row, self._lag // 2)  # whose half turn is at twice the frequency
            if finer is not None and finer > _HALF_TURN_HZ:
                hz = finer
        return hz if hz is not None and _TONE_LOWEST_HZ < hz < _TONE_HIGHEST_HZ else None

    def _sinusoid(self, row: Wave, lag: int) -> float | None:
        middle = row[lag:-lag]
        sides = row[2 * lag :] + row[: -2 * lag]
        cross = float(middle.dot(sides))
        power = float(middle.dot(middle))
        rest = float(sides.dot(sides)) - cross * cross / power if power else 0.0
        if rest >= _TONE_IMPURITY * 4 * power:
            return None
        turn = math.acos(max(-1.0, min(1.0, cross / (2 * power))))
        return turn * self._hz_per_radian * self._lag / lag

    def _with_overtones(self, row: Wave) -> float | None:
        """The frequency of a hop that repeats itself, as a clipped tone does; None if it does not.

        It must be mostly that frequency, and be the same all over: a voice is neither.
        """
        size = row.size
        spectrum = np.fft.rfft(row, 2 * size)
        power = np.abs(spectrum) ** 2
        own = int(power.argmax())
        if power[own - 2 : own + 3].sum() < _OF_ITS_OWN * power.sum():
            return None
        period = round(2 * size / max(1, own))
        least, most = max(2, period - period // 8), period + period // 8 + 1
        if most >= size // 2 or least < 2:
            return None
        found, best = 0, 0.0
        for lag in range(least, most + 1):
            one, other = row[:-lag], row[lag:]
            energy = math.sqrt(float(one.dot(one)) * float(other.dot(other)))
            alike = float(one.dot(other)) / energy if energy else 0.0
            if alike > best:
                found, best = lag, alike
        return self._rate_hz / found if best >= _PERIODIC else None


def torn_tone(samples: NDArray[np.int16], rate_hz: int, *, in_noise: bool) -> float | None:
    """The frequency in Hz of a stretch that is a beep with noise under it, or torn by packets.

    None if it is none. Such a one nobody finds who listens hop by hop.

    Args:
        samples: the stretch, and nothing beside it.
        rate_hz: of it.
        in_noise: whether up to a third of its energy may be noise.
    """
    if not _TORN_S[0] * rate_hz <= samples.size <= _TORN_S[1] * rate_hz:
        return None
    pieces = _between_holes(samples.astype(np.float32), rate_hz)
    longest = max(pieces, key=lambda piece: piece.size)
    if longest.size < _TORN_PIECE_S * rate_hz:
        return None
    longest = longest[:_TORN_FFT]
    power = np.abs(np.fft.rfft(longest * np.hanning(longest.size), _TORN_FFT)) ** 2
    peak, lobe = int(power.argmax()), 2 * _TORN_FFT // longest.size + 1
    near_hz = peak * rate_hz / _TORN_FFT
    if not _TONE_LOWEST_HZ < near_hz < _TONE_HIGHEST_HZ:
        return None
    if power[max(0, peak - lobe) : peak + lobe + 1].sum() < _TORN_LOBE * power.sum():
        return None
    hz, _ = _steady_tone(longest, near_hz, rate_hz)
    energy = sum(float(piece.dot(piece)) for piece in pieces)
    explained = sum(
        _coherence(piece, _carrier(hz, piece.size, rate_hz), rate_hz) * float(piece.dot(piece))
        for piece in pieces
    )
    return hz if explained >= (_OF_ITS_OWN if in_noise else _BEEP_COHERENCE) * energy else None


def _between_holes(wave: NDArray[np.float32], rate_hz: int) -> list[NDArray[np.float32]]:
    """A wave without the silences in it, behind which a tone may be in another phase."""
    hop = rate_hz * _HOLE_MS // 1000
    rows = wave[: wave.size // hop * hop].reshape(-1, hop)
    loud = np.abs(rows).max(axis=1) > _SILENT * np.abs(wave).max()
    edges = np.flatnonzero(np.diff(loud.astype(np.int8), prepend=0, append=0))
    return [wave[a * hop : b * hop] for a, b in edges.reshape(-1, 2).tolist()]


def edges_in_noise(
    samples: NDArray[np.int16], start: int, end: int, hz: float, rate_hz: int
) -> tuple[int, int] | None:
    """Where a tone begins and ends that has noise under it; None where nothing hides its edges.

    What the tone is like is learnt inside, near each edge by itself, for packets that came late
    may have put it in another phase. From there outwards each sample says for or against it; the
    edge is where the sum of that is greatest.

    Args:
        samples: the recording.
        start: roughly the tone's first sample, and
        end: roughly the one after its last.
        hz: its frequency.
        rate_hz: of the samples.
    """
    around = rate_hz * _EDGE_AROUND_MS // 1000
    low = max(0, start - around)
    wave = samples[low : end + around].astype(np.float64)
    start, end = start - low, end - low
    first = _first_in_noise(wave, start, end, hz, rate_hz)
    back = _first_in_noise(wave[::-1], wave.size - end, wave.size - start, hz, rate_hz)
    if first is None or back is None or first >= wave.size - back:
        return None
    return low + first, low + wave.size - back


def _first_in_noise(
    wave: NDArray[np.float64], start: int, end: int, hz: float, rate_hz: int
) -> int | None:
    near, far = (start + rate_hz * ms // 1000 for ms in _EDGE_INSIDE_MS)
    inside = wave[near : min(far, end)]
    if inside.size < rate_hz * _EDGE_INSIDE_MS[0] // 1000:
        return None
    pieces = np.array_split(inside, max(1, inside.size * 1000 // (_EXACT_PIECE_MS * rate_hz)))
    if min(_beside(piece, hz, rate_hz) for piece in pieces) < 10 ** (-_EXACT_DB / 10):
        return None
    size = 2 * np.dot(inside, _carrier(hz, inside.size, rate_hz)) / inside.size
    tone = (size * np.exp(2j * np.pi * hz / rate_hz * np.arange(-near, inside.size))).real
    speaks_for = tone * (wave[: near + inside.size] - tone / 2)
    return int(np.cumsum(speaks_for[::-1])[::-1].argmax())


def _beside(wave: NDArray[np.float64], hz: float, rate_hz: int) -> float:
    """The share of a stretch's energy that is no tone of that frequency."""
    turning = _carrier(hz, wave.size, rate_hz)
    rest = wave - (2 * np.dot(wave, turning) / wave.size * turning.conj()).real
    energy = float(wave.dot(wave))
    return float(rest.dot(rest)) / energy if energy else 0.0


def is_of_tone(samples: NDArray[np.int16], hz: float, rate_hz: int) -> bool:
    """Whether a stretch, however short, is a piece of a beep of that frequency."""
    wave = samples.astype(np.float32)
    if not wave.any():
        return False
    return _coherence(wave, _carrier(hz, wave.size, rate_hz), rate_hz) >= _BEEP_COHERENCE


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
    return hz, _coherence(wave, _carrier(hz, wave.size, rate_hz), rate_hz)


def _coherence(wave: Wave, carrier: NDArray[np.complex128], rate_hz: int) -> float:
    """The share of the energy that the carrier explains, in pieces of some 100 ms.

    In pieces, because a jitter buffer that drops or inserts a frame shifts the phase of what
    follows, and it is a beep all the same.
    """
    pieces = max(1, round(wave.size / (_COHERENT_S * rate_hz)))
    explained = sum(
        2 * abs(np.dot(piece, turning)) ** 2 / piece.size
        for piece, turning in zip(
            np.array_split(wave, pieces), np.array_split(carrier, pieces), strict=True
        )
    )
    return float(explained / np.dot(wave, wave))


def _carrier(hz: float, count: int, rate_hz: int) -> NDArray[np.complex128]:
    wave: NDArray[np.complex128] = np.exp(-2j * np.pi * hz / rate_hz * np.arange(count))
    return wave
