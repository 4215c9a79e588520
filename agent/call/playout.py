"""The playout of a call: what was handed to the telephone, in order, and how much has been heard.

The leg reports only how many samples of each frame were ours. The tracker knows whose they were,
first in, first out, and so what the caller has heard of each item: which is what a truncation must
say. It counts samples and knows no clock, no audio, and no leg. The player hands audio to the leg
and marks what was heard; every such mark is written when the frame has left, not when it was
queued. The leg can only drop everything at once, so what may be interrupted is kept back here while
something plays that may not.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, StrEnum

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import ClearPlayout, Play
from callerside.agent.telephony.interface import FRAME_MS, FramePlayed
from callerside.audio import BYTES_PER_SAMPLE
from callerside.clock import NS_PER_MS


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
    broken_off: bool = False
    """Its server stopped in the middle of it, and the caller hears silence where it went on."""
    missing: int = 0
    """Length of the hole that is open now: silence while more was to come."""
    last_played_ns: int = 0

    @property
    def whole(self) -> bool:
        """Every sample that there will ever be has left."""
        return self.complete and not self.held and self.played >= self.queued


class PlayoutEventKind(Enum):
    """What can happen to a segment."""

    STARTED = "started"
    UNDERRUN = "underrun"
    ENDED = "ended"


class Until(StrEnum):
    """What ended a hole in which nothing more of its segment came."""

    CLEARED = "cleared"
    """The caller spoke into it, or pressed a key."""
    GIVEN_UP = "given_up"
    """The server failed, was lost, or was waited for long enough."""
    CALL_ENDED = "call_ended"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayoutEvent:
    """Something happened to a segment. `samples`: the length of an underrun."""

    kind: PlayoutEventKind
    segment: Segment
    at_ns: int
    samples: int = 0


_NOTHING: list[PlayoutEvent] = []
_MANY_FRAMES = 1 << 30


class PlayoutTracker:
    """Segments in the order in which they are heard."""

    def __init__(self, frame_samples: int) -> None:
        self._frame_samples = frame_samples
        self.queue: deque[Segment] = deque()
        """What is heard now, or will be."""
        self.dropping: deque[deque[Segment]] = deque()
        """One for each clear that the leg has not confirmed yet."""
        self.waiting_samples = 0
        """Queued and not heard yet, but for what is being dropped."""

    def __len__(self) -> int:
        """How many segments have not been heard to their end."""
        return sum(map(len, self.dropping)) + len(self.queue)

    @property
    def head(self) -> Segment | None:
        """What is heard now, or next."""
        return self.queue[0] if self.queue else None

    @property
    def tail(self) -> Segment | None:
        """What is heard last."""
        return self.queue[-1] if self.queue else None

    @property
    def clearing(self) -> list[Segment]:
        """What is being dropped, until `cleared`."""
        return [segment for dropping in self.dropping for segment in dropping]

    @property
    def routine_frames(self) -> int:
        """So many frames more, whole ones of ours or silent ones, are no event for any segment."""
        if not self.queue and not self.dropping:
            return _MANY_FRAMES
        head = self.queue[0] if self.queue else None
        if self.dropping or head is None or not head.played or head.missing:
            return 0
        return max(0, (head.queued - head.played - 1) // self._frame_samples)

    def add(self, segment: Segment, samples: int) -> None:
        """Count audio of `segment`, which goes behind everything else when it is new.

        What is to be heard of one that was dropped begins with this: the leg has no more of it.
        """
        if segment not in self.queue:
            self.queue.append(segment)
            segment.queued = segment.played
        segment.queued += samples
        self.waiting_samples += samples

    def complete(self, segment: Segment) -> list[PlayoutEvent]:
        """Nothing more of `segment` will come; it may have ended already."""
        segment.complete = True
        if segment.played >= segment.queued:  # or else the hole is in front of what is still queued
            segment.missing = 0
        return self._pop_whole(self.queue)

    def take_hole(self, segment: Segment) -> int:
        """The length of the hole that is open in a segment; nothing more of it will be heard.

        One of up to a frame is none: it opened as the end came.
        """
        missing, segment.missing = segment.missing, 0
        return missing if missing > self._frame_samples else 0

    def overflowed(self, samples: int) -> None:
        """The leg dropped the newest `samples`."""
        for segment in reversed(self.queue):
            dropped = min(samples, segment.queued - segment.played)
            segment.queued -= dropped
            self.waiting_samples -= dropped
            segment.cut_short = segment.cut_short or bool(dropped)
            samples -= dropped
            if not samples:
                return

    def frame_played(self, samples: int, at_ns: int) -> list[PlayoutEvent]:
        """A frame left at `at_ns`, and `samples` of it were ours; or several `routine_frames`."""
        queue = self.dropping[0] if self.dropping else self.queue
        if not queue:
            return _NOTHING
        head = queue[0]
        if samples >= self._frame_samples and head.played and not head.missing:
            played = head.played + samples
            if played < head.queued:  # the ordinary frame, in the middle of a segment
                head.played = played
                head.last_played_ns = at_ns
                if not self.dropping:
                    self.waiting_samples -= samples
                return _NOTHING
        return self._distribute(queue, samples, at_ns)

    def clear(self) -> None:
        """Everything that waits will be dropped; frames until `cleared` still count for it."""
        self.dropping.append(self.queue)
        self.queue = deque()
        self.waiting_samples = 0

    def cleared(self) -> list[Segment]:
        """The first clear is done: what there was, with its final counts."""
        return list(self.dropping.popleft()) if self.dropping else []

    def _distribute(self, queue: deque[Segment], samples: int, at_ns: int) -> list[PlayoutEvent]:
        events: list[PlayoutEvent] = []
        silent = self._frame_samples - samples
        for segment in list(queue):
            share = min(samples, segment.queued - segment.played)
            if share:
                events += self._advance(segment, share, at_ns)
                samples -= share
                if not self.dropping:
                    self.waiting_samples -= share
            if not segment.whole:
                if segment.played and segment.played >= segment.queued:
                    segment.missing += silent
                break
            events += self._pop_whole(queue)
        return events

    @staticmethod
    def _advance(segment: Segment, samples: int, at_ns: int) -> list[PlayoutEvent]:
        events = []
        if not segment.played:
            events.append(PlayoutEvent(kind=PlayoutEventKind.STARTED, segment=segment, at_ns=at_ns))
        if segment.missing:
            events.append(
                PlayoutEvent(
                    kind=PlayoutEventKind.UNDERRUN,
                    segment=segment,
                    at_ns=at_ns,
                    samples=segment.missing,
                )
            )
            segment.missing = 0
        segment.played += samples
        segment.last_played_ns = at_ns
        return events

    @staticmethod
    def _pop_whole(queue: deque[Segment]) -> list[PlayoutEvent]:
        events = []
        while queue and queue[0].whole:
            segment = queue.popleft()
            events.append(
                PlayoutEvent(
                    kind=PlayoutEventKind.ENDED, segment=segment, at_ns=segment.last_played_ns
                )
            )
        return events


_LEAD_MS = 60
"""What is kept back is handed over so early that there is no gap."""


class Playout:
    """What the caller hears of the agent."""

    def __init__(self, context: CallContext, rate_hz: int, max_ms: int) -> None:
        self._context = context
        self._rate_hz = rate_hz
        self._max_samples = max_ms * rate_hz // 1000
        self._tracker = PlayoutTracker(rate_hz * FRAME_MS // 1000)
        self._lead_samples = _LEAD_MS * rate_hz // 1000
        self._over: list[Segment] = []
        self._held: list[tuple[Segment, bytes]] = []
        """Waits for its turn, where it can still be dropped."""
        self._protected: dict[Segment, bytearray] = {}
        """What must be heard to its end, to be queued again if it had to be cleared."""
        self._broken_off: Segment | None = None
        """What was heard last, if the silence since then is a hole in it."""
        self._ended = False

    @property
    def idle(self) -> bool:
        """Everything there was has been heard or dropped."""
        return not len(self._tracker) and not self._held

    @property
    def head(self) -> Segment | None:
        """What is heard now, or next."""
        return self._tracker.head

    @property
    def waiting_ms(self) -> float:
        """How long it takes to hear everything there is; the caller may hold it up."""
        return self.ms(self._tracker.waiting_samples + self._kept_back_samples)

    def write(self, segment: Segment, pcm: bytes) -> None:
        """Queue more of a segment.

        What does not fit the bound, the newest, is dropped, and the rest of its segment with it:
        the caller hears whole words up to there, and what was heard is still a place in the item.
        """
        samples = len(pcm) // BYTES_PER_SAMPLE
        tracker = self._tracker
        room = self._max_samples - tracker.waiting_samples
        if self._held or tracker.dropping:
            room -= self._kept_back_samples
        if segment.cut_short:
            room = 0
        if samples > room:
            segment.cut_short = True
            self._context.mark("playout_overflowed", {"dropped_ms": self.ms(samples - room)})
            samples, pcm = room, pcm[: room * BYTES_PER_SAMPLE]
        if not samples:
            return
        if not segment.interruptible:
            self._protected.setdefault(segment, bytearray()).extend(pcm)
        if not (self._held or tracker.dropping) and tracker.queue and tracker.queue[-1] is segment:
            self._hand_over(segment, pcm)
            return
        self._held.append((segment, pcm))
        segment.held += samples
        self._release()

    def complete(self, segment: Segment) -> None:
        """Nothing more of this segment will come."""
        self._report(self._tracker.complete(segment))
        self._release()

    def break_off(self, segment: Segment) -> None:
        """Nothing more of this segment will come, although there was more to say.

        A hole that is open is told. If what has come is still to be heard, the hole opens after
        that, and is one unless other audio follows: then the answer was made anew.
        """
        all_heard = segment.played >= segment.queued and not segment.held
        missing = self._tracker.take_hole(segment) if all_heard else 0
        if missing:
            self._mark_hole(segment, self.ms(missing), Until.GIVEN_UP)
        else:
            segment.broken_off = True
        self.complete(segment)

    def end(self) -> None:
        """The call ends, and the holes that are open with it."""
        if self._ended:
            return
        self._ended = True
        for segment in [*self._tracker.clearing, *self._tracker.queue]:
            self._leave_hole(segment, Until.CALL_ENDED)
        self._leave_broken_off(Until.CALL_ENDED)

    def play(self, segment: Segment, pcm: bytes) -> None:
        """Queue a segment as a whole."""
        self.write(segment, pcm)
        self.complete(segment)

    def frame_played(self, frame: FramePlayed) -> bool:
        """A frame has left. Answers whether a segment ended with it."""
        events = self._tracker.frame_played(frame.samples, frame.at_ns)
        if events:
            self._report(events)
        if self._held:
            self._release()
        return bool(self._over)

    @property
    def routine_frames(self) -> int:
        """So many frames may leave, all ours or all silent, before anything comes of one."""
        return 0 if self._held or self._over else self._tracker.routine_frames

    def take_over(self) -> list[Segment]:
        """The segments that were heard to their end, or cut, since the last time."""
        over = self._over
        self._over = []
        return over

    def overflowed(self, samples: int) -> None:
        """The leg's own buffer was full, and dropped the newest audio."""
        self._tracker.overflowed(samples)
        self._context.mark("playout_overflowed", {"dropped_ms": self.ms(samples)})

    def interrupt(self) -> None:
        """The caller barges in: drop what may be interrupted; `cleared` reports what that was."""
        self._leave_broken_off(Until.CLEARED)
        held, self._held = self._held, [one for one in self._held if not one[0].interruptible]
        for segment in dict.fromkeys(owner for owner, _ in held if owner.interruptible):
            segment.queued += segment.held
            segment.held = 0
            self._mark_cleared(segment)
            self._over.append(segment)
        if any(segment.interruptible for segment in self._tracker.queue):
            self._tracker.clear()
            self._context.add(ClearPlayout())
        self._release()

    def cleared(self) -> list[Segment]:
        """The leg has dropped it, and every frame that left before has been counted.

        Answers what was dropped. Of what must be heard to its end, the rest is queued again.
        """
        dropped = []
        for segment in self._tracker.cleared():
            pcm = self._protected.get(segment)
            if pcm is None:
                dropped.append(segment)
                self._leave_hole(segment, Until.CLEARED)
                self._mark_cleared(segment)
                continue
            rest = slice(segment.played * BYTES_PER_SAMPLE, segment.queued * BYTES_PER_SAMPLE)
            self._hand_over(segment, bytes(pcm[rest]))
        self._over += dropped
        self._release()
        return dropped

    def forget_items(self) -> None:
        """The session that made what is queued is gone; the caller hears it all the same."""
        for segment in [*self._tracker.queue, *(segment for segment, _ in self._held)]:
            segment.forgotten = True

    def ms(self, samples: int) -> float:
        """Samples as milliseconds."""
        return samples * 1000 / self._rate_hz

    @property
    def _kept_back_samples(self) -> int:
        """What the leg will get, or get again."""
        held = sum(len(waiting) for _, waiting in self._held) // BYTES_PER_SAMPLE
        return held + sum(segment.queued - segment.played for segment in self._returning)

    @property
    def _returning(self) -> list[Segment]:
        """What the leg is dropping, and will get again."""
        return [segment for segment in self._tracker.clearing if not segment.interruptible]

    def _may_follow(self, segment: Segment) -> bool:
        """Whether more of a segment can go to the leg now: nothing must be heard in between.

        The account holds only if no two segments mingle, and one that may be interrupted must not
        stand behind one that may not, as the leg drops both.
        """
        if self._returning:
            return False
        tail = self._tracker.tail
        if tail is None or tail is segment:
            return True
        if not tail.complete or tail.held:
            return False
        if not segment.interruptible or not self._protects():
            return True
        return self._tracker.waiting_samples <= self._lead_samples

    def _protects(self) -> bool:
        """Something is queued that must be heard to its end."""
        return any(not segment.interruptible for segment in self._tracker.queue)

    def _hand_over(self, segment: Segment, pcm: bytes) -> None:
        self._tracker.add(segment, len(pcm) // BYTES_PER_SAMPLE)
        if pcm:
            self._context.effects.append(Play(pcm=pcm))

    def _release(self) -> None:
        """Hand over what has waited long enough, in order; more of the last segment goes first."""
        waiting, self._held = self._held, []
        for segment, pcm in waiting:
            ours = segment is self._tracker.tail
            if self._may_follow(segment) and (ours or not self._held):
                segment.held -= len(pcm) // BYTES_PER_SAMPLE
                self._hand_over(segment, pcm)
            else:
                self._held.append((segment, pcm))

    def _report(self, events: list[PlayoutEvent]) -> None:
        for event in events:
            self._mark(event)
            if event.kind is PlayoutEventKind.ENDED:
                self._over.append(event.segment)
                self._protected.pop(event.segment, None)
                if event.segment.broken_off and event.segment.played:
                    self._broken_off = event.segment
            elif event.kind is PlayoutEventKind.STARTED:
                self._broken_off = None

    def _leave_hole(self, segment: Segment, until: Until) -> None:
        missing = self._tracker.take_hole(segment)
        if missing:
            self._mark_hole(segment, self.ms(missing), until)

    def _leave_broken_off(self, until: Until) -> None:
        """Mark the silence since a segment that was broken off, from the end of its last frame."""
        segment, self._broken_off = self._broken_off, None
        if segment is None:
            return
        missing_ms = (self._context.now_ns - segment.last_played_ns) / NS_PER_MS - FRAME_MS
        if missing_ms > FRAME_MS:
            self._mark_hole(segment, missing_ms, until)

    def _mark_hole(self, segment: Segment, missing_ms: float, until: Until) -> None:
        fields = {"item": segment.item or "", "missing_ms": missing_ms, "until": until.value}
        self._context.mark("playout_underrun", fields)

    def _mark(self, event: PlayoutEvent) -> None:
        segment = event.segment
        if event.kind is PlayoutEventKind.UNDERRUN:
            fields = {"item": segment.item or "", "missing_ms": self.ms(event.samples)}
            self._context.mark("playout_underrun", fields, at_ns=event.at_ns)
        elif event.kind is PlayoutEventKind.STARTED:
            self._mark_started(segment, event.at_ns)
        else:
            self._mark_ended(segment, event.at_ns)

    def _mark_started(self, segment: Segment, at_ns: int) -> None:
        if segment.kind is Kind.BEEP:
            self._context.mark("beep_started", at_ns=at_ns)
        elif segment.kind is Kind.GREETING:
            self._context.mark("greeting_started", {"origin": segment.origin}, at_ns=at_ns)
        elif segment.kind is Kind.PROMPT:
            self._context.mark("prompt_started", {"prompt": segment.origin}, at_ns=at_ns)
        if segment.item:
            self._context.mark("playout_started", {"item": segment.item}, at_ns=at_ns)

    def _mark_ended(self, segment: Segment, at_ns: int) -> None:
        played_ms = self.ms(segment.played)
        if segment.item:
            self._context.mark(
                "playout_ended", {"item": segment.item, "played_ms": played_ms}, at_ns=at_ns
            )
        if segment.kind is Kind.BEEP:
            self._context.mark("beep_ended", at_ns=at_ns)
        elif segment.kind is Kind.GREETING:
            self._mark_greeting_ended(segment, at_ns, interrupted=segment.cut_short)
        elif segment.kind is Kind.PROMPT:
            fields = {"prompt": segment.origin, "played_ms": played_ms}
            self._context.mark("prompt_ended", fields, at_ns=at_ns)

    def _mark_cleared(self, segment: Segment) -> None:
        fields: dict[str, object] = {
            "played_ms": self.ms(segment.played),
            "dropped_ms": self.ms(segment.queued - segment.played),
        }
        item = {"item": segment.item} if segment.item else {}
        self._context.mark("playout_cleared", {**item, **fields})
        self._protected.pop(segment, None)
        if segment.kind is Kind.GREETING:
            self._mark_greeting_ended(segment, self._context.now_ns, interrupted=True)

    def _mark_greeting_ended(self, segment: Segment, at_ns: int, *, interrupted: bool) -> None:
        fields = {"played_ms": self.ms(segment.played), "interrupted": interrupted}
        self._context.mark("greeting_ended", fields, at_ns=at_ns)
