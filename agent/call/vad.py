"""The agent's own voice activity detection, for the turn policy `local`.

Energy against a noise floor that follows the line: cheap (no model, a few microseconds a frame) and
good enough for a telephone's one voice. The floor is the least level of the last seconds: speech
dips between its syllables and does not lift it, a steady noise is learnt. It counts audio, not
time: frames are 20 ms each, and come for silence, too.
"""

from collections import deque
from dataclasses import dataclass

from callerside.agent.config.settings import LocalVadSettings
from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import level_dbfs, to_samples

_FLOOR_FRAMES = 100
"""Two seconds."""
_FLOOR_MIN_DBFS = -75.0
"""Digital silence says nothing about the line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoiceStarted:
    """Speech was heard; `at_ms`: its first frame, on the audio clock."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VoiceStopped:
    """It has been silent long enough; `at_ms`: now, on the audio clock."""

    at_ms: int


class VoiceDetector:
    """Frames in, starts and stops out."""

    def __init__(self, settings: LocalVadSettings) -> None:
        self._threshold_dbfs = settings.threshold_dbfs
        self._above_noise_db = settings.above_noise_db
        self._frames_to_start = max(1, settings.min_speech_ms // FRAME_MS)
        self._frames_to_stop = max(1, settings.silence_duration_ms // FRAME_MS)
        self._levels: deque[float] = deque(maxlen=_FLOOR_FRAMES)
        self._run = 0
        """Frames in a row that speak against what is the case now."""
        self._frames = 0
        self.speaking = False

    def feed(self, pcm: bytes) -> VoiceStarted | VoiceStopped | None:
        """One frame."""
        self._frames += 1
        voiced = self._is_voiced(level_dbfs(to_samples(pcm)))
        self._run = self._run + 1 if voiced is not self.speaking else 0
        needed = self._frames_to_stop if self.speaking else self._frames_to_start
        if self._run < needed:
            return None
        self.speaking = not self.speaking
        self._run = 0
        if self.speaking:
            return VoiceStarted(at_ms=(self._frames - needed) * FRAME_MS)
        return VoiceStopped(at_ms=self._frames * FRAME_MS)

    def reset(self) -> None:
        """Forget a turn that was being heard, not the line's noise."""
        self.speaking = False
        self._run = 0

    def _is_voiced(self, level: float) -> bool:
        self._levels.append(level)
        floor = max(min(self._levels), _FLOOR_MIN_DBFS)
        return level > max(self._threshold_dbfs, floor + self._above_noise_db)
