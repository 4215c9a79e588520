"""What the caller says: turns utterances into one stream of audio and knows what of it has left.

On a quiet line an utterance goes to the leg whole, as the leg paces it best. Where there is noise
or echo, or where `steps` and `meanwhile` may speak at once, audio is made frame by frame, a little
ahead of its time. The leg reports after each frame how many samples of the stream have left: that
is when an utterance has begun and when it has ended.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from callerside.agent.telephony.interface import FRAME_MS
from callerside.audio import to_samples
from callerside.simulator.caller.line_model import LineModel

_MANY_SAMPLES = 1 << 40

LEAD_FRAMES = 3
"""How far ahead frames are made: what the process may be late without a hole in the voice."""


@dataclass(slots=True)
class Utterance:
    """Something the caller says. Times are of the frames that carry its first and last sample."""

    turn: int | None
    """Counted from 1; None for what does not take the turn."""
    text: str
    samples: NDArray[np.int16] = field(repr=False)
    first_sample: int | None = None
    """Its place in the stream, once it has one."""
    started_ns: int | None = None
    ended_ns: int | None = None

    @property
    def end_sample(self) -> int | None:
        """Where it ends in the stream."""
        return None if self.first_sample is None else self.first_sample + len(self.samples)


class SpeechOutput:
    """Makes one stream of audio and keeps account of it.

    Args:
        line: what the voice goes through.
        rate_hz: of the stream.
        mixes: utterances may overlap; otherwise each waits for the one before.
    """

    def __init__(self, line: LineModel, rate_hz: int, *, mixes: bool = False) -> None:
        self._line = line
        self._frame = rate_hz * FRAME_MS // 1000
        self._by_frames = mixes or line.sounds_by_itself
        self._made_samples = 0
        self._left_samples = 0
        self._said: list[Utterance] = []
        self.all_said: list[Utterance] = []
        """Everything so far, as it was before it met the line."""
        self._open = False

    @property
    def speaking(self) -> bool:
        """Whether something that was said has not left yet."""
        return bool(self._said)

    @property
    def taking_turn(self) -> bool:
        """Whether something that takes the turn sounds."""
        return any(one.turn is not None and one.started_ns is not None for one in self._said)

    def open(self) -> None:
        """Audio can flow now; nothing is made before."""
        self._open = True

    @property
    def routine_frames(self) -> int:
        """So many frames may leave before an utterance begins or ends with one."""
        if self._by_frames:
            return 0
        routine = _MANY_SAMPLES
        for utterance in self._said:
            first, end = utterance.first_sample, utterance.end_sample
            if first is None or end is None:
                return 0
            turning = first if utterance.started_ns is None else end - 1
            routine = min(routine, turning - self._left_samples)
        return routine // self._frame

    def hear(self, pcm: bytes) -> None:
        """What the agent says, for the echo."""
        if self._line.echoes:
            self._line.hear(pcm)

    def say(self, text: str, pcm: bytes, turn: int | None) -> Utterance:
        """Begin to say something; `more_audio` then has it."""
        utterance = Utterance(turn, text, to_samples(pcm))
        self._said.append(utterance)
        self.all_said.append(utterance)
        return utterance

    def more_audio(self) -> bytes:
        """What is to be played next, to be handed to the leg at once; empty for nothing."""
        if not self._open or not (self._by_frames or self._said):
            return b""
        return self._frames_ahead() if self._by_frames else self._whole_utterances()

    def frame_left(self, samples: int, at_ns: int) -> list[Utterance]:
        """A frame with so many samples of the stream has left: utterances that began or ended."""
        if not samples or not self._said:
            self._left_samples += samples
            return []
        self._left_samples += samples
        changed = []
        for utterance in self._said:
            first, end = utterance.first_sample, utterance.end_sample
            if first is None or end is None or first >= self._left_samples:
                continue
            if utterance.started_ns is None:
                utterance.started_ns = at_ns
                changed.append(utterance)
            if end <= self._left_samples:
                utterance.ended_ns = at_ns
                if utterance not in changed:
                    changed.append(utterance)
        self._said = [utterance for utterance in self._said if utterance.ended_ns is None]
        return changed

    def _whole_utterances(self) -> bytes:
        audio = []
        for utterance in self._said:
            if utterance.first_sample is None:
                utterance.first_sample = self._made_samples
                self._made_samples += len(utterance.samples)
                audio.append(self._line.carry_whole(utterance.samples))
        return b"".join(audio)

    def _frames_ahead(self) -> bytes:
        audio = []
        while self._made_samples - self._left_samples < LEAD_FRAMES * self._frame:
            ahead = self._made_samples - self._left_samples
            audio.append(self._line.carry(self._next_frame(), ahead))
            self._made_samples += self._frame
        return b"".join(audio)

    def _next_frame(self) -> NDArray[np.float64]:
        wave = np.zeros(self._frame)
        for utterance in self._said:
            if utterance.first_sample is None:
                utterance.first_sample = self._made_samples
            offset = self._made_samples - utterance.first_sample
            part = utterance.samples[offset : offset + self._frame]
            wave[: len(part)] += part
        return wave
