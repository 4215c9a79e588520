"""The playout ledger: what was handed to the telephone, in order, and how much of it really left.

The leg tells only how many samples of each frame were ours. The ledger knows whose they were, first
in, first out, and so what the caller has heard of each item: which is what a truncation must say.
It counts samples and knows no clock, no audio, and no leg.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum


class Kind(StrEnum):
    """What a segment of the agent's audio is."""

    BEEP = "beep"
    GREETING = "greeting"
    PROMPT = "prompt"
    RESPONSE = "response"


@dataclass(eq=False, kw_only=True, slots=True)
class Segment:
    """A stretch of audio that belongs together. Lengths are in samples of the leg."""

    kind: Kind
    item: str | None = None
    forgotten: bool = False
    """The session that made it is gone: nobody knows its item any more."""
    interruptible: bool = True
    """The caller's voice stops it."""
    origin: str = ""
    """Of a greeting: `cache` or `generated`. Of a prompt: which."""
    queued: int = 0
    """Handed to the leg so far, and not dropped by it since."""
    held: int = 0
    """Kept back by the player, to be handed to the leg later."""
    played: int = 0
    """Left so far."""
    complete: bool = False
    """Nothing more will be queued."""
    cut_short: bool = False
    """Not all of it is here: it did not fit the buffer, or its session is gone."""
    missing: int = 0
    """Length of the hole that is open now: silence while more was to come."""
    last_played_ns: int = 0

    @property
    def whole(self) -> bool:
        """Every sample that there will ever be has left."""
        return self.complete and not self.held and self.played >= self.queued


class Happening(Enum):
    """What can happen to a segment."""

    STARTED = "started"
    UNDERRUN = "underrun"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something happened to a segment. `samples`: the length of an underrun."""

    what: Happening
    segment: Segment
    at_ns: int
    samples: int = 0


_NOTHING: list[Fact] = []
_MANY_FRAMES = 1 << 30


class Ledger:
    """Segments in the order in which they are heard."""

    def __init__(self, frame_samples: int) -> None:
        self._frame_samples = frame_samples
        self._queue: deque[Segment] = deque()
        self._clearing: deque[deque[Segment]] = deque()
        """One for each clear that the leg has not confirmed yet."""

    def __len__(self) -> int:
        """How many segments have not been heard to their end."""
        return sum(map(len, self._clearing)) + len(self._queue)

    @property
    def head(self) -> Segment | None:
        """What is heard now, or next."""
        return self._queue[0] if self._queue else None

    @property
    def tail(self) -> Segment | None:
        """What is heard last."""
        return self._queue[-1] if self._queue else None

    @property
    def clearing(self) -> list[Segment]:
        """What is being dropped, until `cleared`."""
        return [segment for dropping in self._clearing for segment in dropping]

    @property
    def segments(self) -> list[Segment]:
        """What is heard now, or will be."""
        return list(self._queue)

    @property
    def waiting_samples(self) -> int:
        """Queued and not heard yet."""
        return sum(segment.queued - segment.played for segment in self._queue)

    @property
    def routine_frames(self) -> int:
        """So many frames more, whole ones of ours or silent ones, are no event for any segment."""
        if not self._queue and not self._clearing:
            return _MANY_FRAMES
        head = self._queue[0] if self._queue else None
        if self._clearing or head is None or not head.played or head.missing:
            return 0
        return max(0, (head.queued - head.played - 1) // self._frame_samples)

    def add(self, segment: Segment, samples: int) -> None:
        """Count audio of `segment`, which goes behind everything else when it is new.

        What is to be heard of one that was dropped begins with this: the leg has no more of it.
        """
        if segment not in self._queue:
            self._queue.append(segment)
            segment.queued = segment.played
        segment.queued += samples

    def complete(self, segment: Segment) -> list[Fact]:
        """Nothing more of `segment` will come; it may have ended already."""
        segment.complete = True
        if segment.played >= segment.queued:  # or else the hole is in front of what is still queued
            segment.missing = 0
        return self._pop_whole(self._queue)

    def overflowed(self, samples: int) -> None:
        """The leg dropped the newest `samples`."""
        for segment in reversed(self._queue):
            dropped = min(samples, segment.queued - segment.played)
            segment.queued -= dropped
            segment.cut_short = segment.cut_short or bool(dropped)
            samples -= dropped
            if not samples:
                return

    def frame_played(self, samples: int, at_ns: int) -> list[Fact]:
        """A frame left at `at_ns`, and `samples` of it were ours; or several `routine_frames`."""
        queue = self._clearing[0] if self._clearing else self._queue
        if not queue:
            return _NOTHING
        head = queue[0]
        if samples >= self._frame_samples and head.played and not head.missing:
            played = head.played + samples
            if played < head.queued:  # the ordinary frame, in the middle of a segment
                head.played = played
                head.last_played_ns = at_ns
                return _NOTHING
        return self._distribute(queue, samples, at_ns)

    def clear(self) -> None:
        """Everything that waits will be dropped; frames until `cleared` still count for it."""
        self._clearing.append(self._queue)
        self._queue = deque()

    def cleared(self) -> list[Segment]:
        """The first clear is done: what there was, with its final counts."""
        return list(self._clearing.popleft()) if self._clearing else []

    def _distribute(self, queue: deque[Segment], samples: int, at_ns: int) -> list[Fact]:
        facts: list[Fact] = []
        silent = self._frame_samples - samples
        for segment in list(queue):
            share = min(samples, segment.queued - segment.played)
            if share:
                facts += self._advance(segment, share, at_ns)
                samples -= share
            if not segment.whole:
                if segment.played and segment.played >= segment.queued:
                    segment.missing += silent
                break
            facts += self._pop_whole(queue)
        return facts

    @staticmethod
    def _advance(segment: Segment, samples: int, at_ns: int) -> list[Fact]:
        facts = []
        if not segment.played:
            facts.append(Fact(what=Happening.STARTED, segment=segment, at_ns=at_ns))
        if segment.missing:
            facts.append(
                Fact(what=Happening.UNDERRUN, segment=segment, at_ns=at_ns, samples=segment.missing)
            )
            segment.missing = 0
        segment.played += samples
        segment.last_played_ns = at_ns
        return facts

    @staticmethod
    def _pop_whole(queue: deque[Segment]) -> list[Fact]:
        facts = []
        while queue and queue[0].whole:
            segment = queue.popleft()
            facts.append(Fact(what=Happening.ENDED, segment=segment, at_ns=segment.last_played_ns))
        return facts
