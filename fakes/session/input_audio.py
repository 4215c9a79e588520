"""The input audio buffer: what the client has appended, and what is heard in it.

The audio clock counts the audio received since the session began. Turns, `audio_start_ms`,
`audio_end_ms` and the idle timer live on it; the wall clock plays no part.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from callerside.audio import BYTES_PER_SAMPLE, AudioFormat
from callerside.fakes.script.model import Vad
from callerside.vad.engines import make_judge
from callerside.vad.turn_detector import (
    FRAME_MS,
    Judge,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    VadParameters,
)

SEMANTIC_LONGEST_WAIT_MS = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}
"""After this silence `semantic_vad` ends any turn, by eagerness (official guide)."""

_KEPT_BYTES = 2**24

Number = TypeVar("Number", int, float)


class InputAudio:
    """Buffers audio, keeps the audio clock, and finds turns if turn detection is on."""

    def __init__(self, vad: Vad) -> None:
        self.newest = b""
        """What was appended last, as PCM16 at `rate_hz`."""
        self._vad = vad
        self._format = AudioFormat()
        self._judge: Judge | None = None
        self._detector: TurnDetector | None = None
        self._prefix_ms = 0
        self._frame_bytes = self._to_bytes(FRAME_MS)
        # What has come in, and is kept. Positions in the stream are counted in bytes of PCM since
        # the beginning of the stream, which is the session's, or that of its present format.
        self._stream_ms = 0.0
        self._buffer = bytearray()
        self._half = b""  # of a sample, whose other half comes with the next append
        self._buffer_at = 0
        self._judged_at = 0
        self._committed_at = 0

    @property
    def rate_hz(self) -> int:
        """Samples a second of what is received."""
        return self._format.rate_hz

    @property
    def total_samples(self) -> int:
        """Samples received since the session began, or since its format changed."""
        return self._end_at // BYTES_PER_SAMPLE

    @property
    def clock_ms(self) -> float:
        """The audio clock."""
        return self._to_ms(self._end_at)

    @property
    def uncommitted_ms(self) -> float:
        """Audio since the last commit."""
        return self.clock_ms - self._to_ms(self._committed_at)

    def holds_uncommitted(self, length_ms: int) -> bool:
        """Whether so much audio has come since the last commit: counted in whole samples."""
        return self._end_at - self._committed_at >= self._to_bytes(length_ms)

    @property
    def speaking(self) -> bool:
        """Whether a turn of the user's is going on."""
        return self._detector is not None and self._detector.speaking

    def configure(
        self, audio_format: AudioFormat, detection: dict[str, Any] | None, *, unfinished: bool
    ) -> None:
        """Follow the session's configuration; `unfinished` as in `fakes.script.model.Reply`."""
        if audio_format != self._format:
            self._set_format(audio_format)
        if detection is None:
            self._detector = None
            return
        parameters = self._vad_parameters(detection, unfinished=unfinished)
        if self._detector is None:
            self._detector = TurnDetector(parameters)
        self._detector.parameters = parameters
        if self._judge is None:
            self._judge = make_judge(self._vad.engine, self.rate_hz)

    def append(self, wire: bytes) -> Sequence[SpeechStarted | SpeechStopped]:
        """Take audio as it came over the wire; returns what is heard in the frames it completes.

        Fifty times a second for every session: kept lean.
        """
        if self._half or (len(wire) % 2 and self._format.encoding == "pcm"):
            wire = self._half + wire
            self._half = wire[len(wire) // 2 * 2 :]
        self.newest = pcm = self._format.decode(wire)
        self._buffer += pcm
        if len(self._buffer) + self._buffer_at - self._judged_at < self._frame_bytes:
            return ()
        return self._listen()

    def routine_ms(self, *, silent: bool) -> float:
        """So much audio more changes nothing, whatever is in it, or if it is `silent`."""
        if self._detector is None:
            return math.inf
        sure = self._vad.engine == "energy" and self._detector.parameters.threshold > 0
        if silent and sure and not self._detector.speaking:
            rest = self._buffer[self._judged_at - self._buffer_at :]
            return math.inf if rest == bytes(len(rest)) else 0.0
        return max(0.0, self._detector.earliest_ms - self.clock_ms)

    def _listen(self) -> list[SpeechStarted | SpeechStopped]:
        """Judge the whole frames of what has come in."""
        all_heard: list[SpeechStarted | SpeechStopped] = []
        frame_bytes = self._frame_bytes
        start = self._judged_at - self._buffer_at
        whole = (len(self._buffer) - start) // frame_bytes
        if self._detector is not None and self._judge is not None:
            start_ms = round(self._to_ms(self._judged_at))
            frames = self._buffer[start : start + whole * frame_bytes]
            for probability in self._judge.probabilities(frames, frame_bytes):
                heard = self._detector.hear(probability, start_ms)
                if heard is not None:
                    all_heard.append(heard)
                start_ms += FRAME_MS
        self._judged_at += whole * frame_bytes
        if len(self._buffer) > _KEPT_BYTES:
            self._forget(self._end_at - _KEPT_BYTES // 2)
        return all_heard

    def start_ms(self, speech: SpeechStarted) -> int:
        """`audio_start_ms`: the onset and the padding before it, of what has not been taken yet."""
        return max(round(self._to_ms(self._committed_at)), speech.onset_ms - self._prefix_ms)

    def take(self, start_ms: float, end_ms: float) -> tuple[float, bytes]:
        """Commit what lies between two times of the audio clock, and forget what came before.

        Returns:
            How long the audio is, what has been committed already left out, and as much of it as
            has been kept.
        """
        start = max(self._to_position(start_ms), self._committed_at)
        end = max(self._to_position(end_ms), start)
        pcm = bytes(self._buffer[max(0, start - self._buffer_at) : max(0, end - self._buffer_at)])
        self._committed_at = end
        self._forget(end)
        return self._to_ms(end) - self._to_ms(start), pcm

    def clear(self) -> None:
        """Forget what has been buffered, and the turn that is going on."""
        self._half = b""
        self._committed_at = self._end_at
        self._forget(self._end_at)
        self.forget_turn()

    def forget_turn(self) -> None:
        """The turn that is going on has been ended by other means."""
        if self._detector is not None:
            self._detector.reset()

    @property
    def _end_at(self) -> int:
        return self._buffer_at + len(self._buffer)

    def _forget(self, position: int) -> None:
        """Drop what lies before a position, but for what has not been judged yet."""
        size = min(position, self._judged_at) - self._buffer_at
        if size > 0:
            del self._buffer[:size]
            self._buffer_at += size

    def _vad_parameters(self, detection: dict[str, Any], *, unfinished: bool) -> VadParameters:
        vad = self._vad
        self._prefix_ms = _given(vad.prefix_padding_ms, detection.get("prefix_padding_ms", 300))
        if detection["type"] == "server_vad":
            silence_ms = _given(vad.silence_duration_ms, detection["silence_duration_ms"])
        else:
            longest_ms = SEMANTIC_LONGEST_WAIT_MS[detection["eagerness"]]
            silence_ms = longest_ms if unfinished else min(longest_ms, vad.semantic_pause_ms)
        return VadParameters(
            threshold=_given(vad.threshold, detection.get("threshold", 0.5)),
            silence_ms=silence_ms,
            min_speech_ms=vad.min_speech_ms,
        )

    def _set_format(self, audio_format: AudioFormat) -> None:
        """The clock runs on; what was buffered in the old format is forgotten."""
        self._stream_ms = self.clock_ms
        self._format = audio_format
        self._frame_bytes = self._to_bytes(FRAME_MS)
        if self._judge is not None:
            self._judge.restart(self.rate_hz)
        self._buffer.clear()
        self._half = b""
        self._buffer_at = self._judged_at = self._committed_at = 0
        self.forget_turn()

    def _to_ms(self, position: int) -> float:
        return self._stream_ms + position * 1000 / (BYTES_PER_SAMPLE * self._format.rate_hz)

    def _to_position(self, clock_ms: float) -> int:
        return self._to_bytes(clock_ms - self._stream_ms)

    def _to_bytes(self, length_ms: float) -> int:
        return BYTES_PER_SAMPLE * round(length_ms * self._format.rate_hz / 1000)


def _given(override: Number | None, asked: Number) -> Number:
    return asked if override is None else override
