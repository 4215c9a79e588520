"""Voice activity detection: which 32 ms frames hold speech, and when a turn begins and ends.

The API's voice activity detection runs on the audio that it has received, not on the wall clock, in
frames of 32 ms. Two judges of a frame are here: by level, for speed and for the virtual lane, and
Silero's neural network. `TurnDetector` makes turns of their judgements.
"""

from dataclasses import dataclass
from typing import Protocol

FRAME_MS = 32

# Once speech runs, a frame counts as voiced from this much below the threshold on (as Silero's own
# iterator has it), so that soft endings of words do not end a turn.
_HYSTERESIS = 0.15
_LEAST_VOICED = 0.01  # likewise: digital silence is no voice, however low the threshold is


class Judge(Protocol):
    """Distinguishes speech from the rest, one frame after the other of one stream."""

    def probability(self, frame: bytes | bytearray) -> float:
        """How likely it is (0 to 1) that this frame of PCM16 holds speech."""

    def probabilities(self, pcm: bytes | bytearray, frame_bytes: int) -> list[float]:
        """The same of each of several frames."""

    def restart(self, rate_hz: int) -> None:
        """The stream goes on at another rate."""


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
class VadParameters:
    """What makes a turn: see `fakes.script.model.Vad` for the meaning of each."""

    threshold: float
    silence_ms: int
    min_speech_ms: int = FRAME_MS


class TurnDetector:
    """Finds the beginning and the end of speech in a stream of judged frames."""

    def __init__(self, parameters: VadParameters) -> None:
        self.parameters = parameters
        self.speaking = False
        self._onset_ms = 0
        self._voiced_ms = 0
        self._last_voiced_ms = 0

    @property
    def earliest_ms(self) -> float:
        """The next event may come when so much audio has been judged: at once, if 0."""
        return self._last_voiced_ms + self.parameters.silence_ms if self.speaking else 0.0

    def reset(self) -> None:
        """Forget a turn that has been ended by other means."""
        self.speaking = False
        self._voiced_ms = 0

    def hear(self, probability: float, start_ms: int) -> SpeechStarted | SpeechStopped | None:
        """Take the judgement of the frame that starts at `start_ms` on the audio clock."""
        if not self.speaking:
            if probability < self.parameters.threshold:
                self._voiced_ms = 0
                return None
            return self._hear_voice(start_ms)
        end_ms = start_ms + FRAME_MS
        if probability >= max(self.parameters.threshold - _HYSTERESIS, _LEAST_VOICED):
            self._last_voiced_ms = end_ms
            return None
        if end_ms - self._last_voiced_ms < self.parameters.silence_ms:
            return None
        self.reset()
        return SpeechStopped(end_ms, self._last_voiced_ms)

    def _hear_voice(self, start_ms: int) -> SpeechStarted | None:
        if not self._voiced_ms:
            self._onset_ms = start_ms
        self._voiced_ms += FRAME_MS
        if self._voiced_ms < self.parameters.min_speech_ms:
            return None
        self.speaking = True
        self._last_voiced_ms = start_ms + FRAME_MS
        return SpeechStarted(self._onset_ms)
