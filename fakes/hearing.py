"""The input audio buffer: what the client has appended, and what is heard in it.

The audio clock counts the audio received since the session began. Turns, `audio_start_ms`,
`audio_end_ms` and the idle timer live on it; the wall clock plays no part.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

from agent.audio import BYTES_PER_SAMPLE, AudioFormat
from fakes.script import Vad
from fakes.vad import (
    FRAME_MS,
    Hearing,
    Judge,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    make_judge,
)

SEMANTIC_LONGEST_WAIT_MS = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}
"""After this silence `semantic_vad` ends any turn, by eagerness (official guide)."""

_KEPT_BYTES = 2**24

Number = TypeVar("Number", int, float)


class InputAudio:
    """Buffers audio, keeps the audio clock, and finds turns if turn detection is on."""

    def __init__(self, vad: Vad) -> None:
        self._vad = vad
        self._format = AudioFormat()
        self._rate_hz = self._format.rate_hz
        self._frame_bytes = 0
        self._judge: Judge | None = None
        self._detector: TurnDetector | None = None
        self._prefix_ms = 0
        self._partial = b""
        self._buffer: deque[bytes] = deque()
        self._buffer_bytes = 0
        self._uncommitted_bytes = 0
        self._clock_base_ms = 0.0
        self._clock_bytes = 0
        self._frames_base_ms = 0
        self._frames = 0
        self.total_samples = 0
        self._set_format(self._format)

    @property
    def rate_hz(self) -> int:
        """Samples a second of what is received."""
        return self._rate_hz

    @property
    def clock_ms(self) -> float:
        """The audio clock."""
        return self._clock_base_ms + self._to_ms(self._clock_bytes)

    @property
    def uncommitted_ms(self) -> float:
        """Audio since the last commit."""
        return self._to_ms(self._uncommitted_bytes)

    @property
    def speaking(self) -> bool:
        """Whether a turn of the user's is going on."""
        return self._detector is not None and self._detector.speaking

    def configure(
        self, audio_format: AudioFormat, detection: dict[str, Any] | None, *, unfinished: bool
    ) -> None:
        """Follow the session's configuration; `unfinished` as in `fakes.script.Reply`."""
        if audio_format != self._format:
            self._set_format(audio_format)
        if detection is None:
            self._detector = None
            return
        hearing = self._hearing(detection, unfinished=unfinished)
        if self._detector is None:
            self._detector = TurnDetector(hearing)
        self._detector.hearing = hearing
        if self._judge is None:
            self._judge = make_judge(self._vad.engine, self._rate_hz)

    def append(self, wire: bytes) -> bytes:
        """Take audio as it came over the wire; returns it as PCM16 at `rate_hz`."""
        pcm = self._format.decode(wire)
        size = len(pcm)
        self._clock_bytes += size
        self.total_samples += size // BYTES_PER_SAMPLE
        self._uncommitted_bytes += size
        self._buffer.append(pcm)
        self._buffer_bytes += size
        while self._buffer_bytes > _KEPT_BYTES and len(self._buffer) > 1:
            self._buffer_bytes -= len(self._buffer.popleft())
        return pcm

    def listen(self, pcm: bytes) -> Iterator[SpeechStarted | SpeechStopped]:
        """Judge the frames that this audio completes."""
        frame_bytes = self._frame_bytes
        partial = self._partial + pcm
        offset = 0
        while len(partial) - offset >= frame_bytes:
            if self._detector is not None and self._judge is not None:
                frame = partial[offset : offset + frame_bytes]
                start_ms = self._frames_base_ms + self._frames * FRAME_MS
                heard = self._detector.hear(self._judge.probability(frame), start_ms)
                if heard is not None:
                    yield heard
            self._frames += 1
            offset += frame_bytes
        self._partial = partial[offset:]

    def start_ms(self, speech: SpeechStarted) -> int:
        """`audio_start_ms`: the onset and the padding before it."""
        return max(0, speech.onset_ms - self._prefix_ms)

    def take(self, length_ms: float | None = None) -> tuple[float, bytes]:
        """Empty the buffer for a commit: the last `length_ms` of it, or all.

        Returns:
            How long the audio is, and as much of it as has been kept.
        """
        taken_ms = self.uncommitted_ms if length_ms is None else min(length_ms, self.uncommitted_ms)
        size = min(self._to_bytes(taken_ms), self._buffer_bytes)
        pcm = b"".join(self._buffer)[self._buffer_bytes - size :]
        self.clear()
        return taken_ms, pcm

    def clear(self) -> None:
        """Forget what has been buffered, and the turn that is going on."""
        self._buffer.clear()
        self._buffer_bytes = 0
        self._uncommitted_bytes = 0
        if self._detector is not None:
            self._detector.reset()

    def _hearing(self, detection: dict[str, Any], *, unfinished: bool) -> Hearing:
        vad = self._vad
        self._prefix_ms = _given(vad.prefix_padding_ms, detection.get("prefix_padding_ms", 300))
        if detection["type"] == "server_vad":
            silence_ms = _given(vad.silence_duration_ms, detection["silence_duration_ms"])
        else:
            longest_ms = SEMANTIC_LONGEST_WAIT_MS[detection["eagerness"]]
            silence_ms = longest_ms if unfinished else min(longest_ms, vad.semantic_pause_ms)
        return Hearing(
            threshold=_given(vad.threshold, detection.get("threshold", 0.5)),
            silence_ms=silence_ms,
            min_speech_ms=vad.min_speech_ms,
        )

    def _set_format(self, audio_format: AudioFormat) -> None:
        """The clock runs on; what was buffered in the old format is forgotten."""
        self._clock_base_ms = self.clock_ms
        self._clock_bytes = 0
        self._frames_base_ms = round(self._clock_base_ms)
        self._frames = 0
        self._partial = b""
        self._format = audio_format
        self._rate_hz = audio_format.rate_hz
        self._frame_bytes = self._to_bytes(FRAME_MS)
        self._judge = None
        self.clear()

    def _to_ms(self, size: int) -> float:
        return size * 1000 / (BYTES_PER_SAMPLE * self._rate_hz)

    def _to_bytes(self, length_ms: float) -> int:
        return BYTES_PER_SAMPLE * round(length_ms * self._rate_hz / 1000)


def _given(override: Number | None, asked: Number) -> Number:
    return asked if override is None else override
