"""The caller's mouth: turns utterances into one stream of audio and knows what of it has left.

What is said goes to the leg whole, as the leg paces it best. The leg tells after each frame how
many samples of the stream have left: that is when an utterance has begun and when it has ended.
"""

from collections import deque
from dataclasses import dataclass

from agent.audio import BYTES_PER_SAMPLE


@dataclass(slots=True)
class Utterance:
    """Something the caller says. Times are of the frames that carry its first and last sample."""

    turn: int | None
    """Counted from 1; None for a sound that does not take the turn."""
    text: str
    first_sample: int
    end_sample: int
    started_ns: int | None = None
    ended_ns: int | None = None


class Mouth:
    """Keeps account of one stream of audio."""

    def __init__(self) -> None:
        self._queued_samples = 0
        self._left_samples = 0
        self._pending: deque[Utterance] = deque()

    @property
    def speaking(self) -> bool:
        """Whether something that was said has not left yet."""
        return bool(self._pending)

    def say(self, text: str, pcm: bytes, turn: int | None) -> Utterance:
        """Put an utterance behind what is queued; the caller of this plays `pcm`."""
        count = len(pcm) // BYTES_PER_SAMPLE
        first = self._queued_samples
        self._queued_samples += count
        utterance = Utterance(turn, text, first, first + count)
        self._pending.append(utterance)
        return utterance

    def frame_left(self, samples: int, at_ns: int) -> list[Utterance]:
        """A frame with so many samples of the stream has left: utterances that began or ended."""
        if not samples:
            return []
        self._left_samples += samples
        changed = []
        for utterance in self._pending:
            if utterance.first_sample >= self._left_samples:
                break
            if utterance.started_ns is None:
                utterance.started_ns = at_ns
                changed.append(utterance)
        while self._pending and self._pending[0].end_sample <= self._left_samples:
            utterance = self._pending.popleft()
            utterance.ended_ns = at_ns
            if utterance not in changed:
                changed.append(utterance)
        return changed
