"""The playout of a call: what was handed to the telephone, and how much of it has been heard.

The leg reports how many samples of each tag have left. A segment has a tag, and so its own account
of what the caller has heard of it: which is what a truncation must say. Every mark of what was
heard is written when the frame has left, not when it was queued.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from callerside.agent.call.context import CallContext
from callerside.agent.call.events import ClearPlayout, Play
from callerside.agent.telephony.interface import (
    FRAME_MS,
    FramePlayed,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.audio import BYTES_PER_SAMPLE
from callerside.clock import NS_PER_MS, NS_PER_S


class Kind(StrEnum):
    """What a segment of the agent's audio is."""

    BEEP = "beep"
    GREETING = "greeting"
    PROMPT = "prompt"
    RESPONSE = "response"


class Until(StrEnum):
    """What ended a hole in which nothing more of its segment came."""

    CLEARED = "cleared"
    """The caller spoke into it, or pressed a key."""
    GIVEN_UP = "given_up"
    """The server failed, was lost, or was waited for long enough."""
    CALL_ENDED = "call_ended"


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
    gives_way: bool = False
    """It fills a silence: an answer that begins cuts it off, and nothing that was said is lost."""
    tag: int = 0
    """By which the leg knows it; 0 before any of it was handed to the leg."""
    queued: int = 0
    """Handed to the leg so far, and not dropped by it since."""
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
        return self.complete and self.played >= self.queued


_MANY_FRAMES = 1 << 30


_TOLD_EVERY_NS = NS_PER_S
"""At least between two marks of audio that was dropped, but for the last ones of the call."""


class Playout:
    """What the caller hears of the agent."""

    def __init__(self, context: CallContext, rate_hz: int, max_ms: int) -> None:
        self._context = context
        self._rate_hz = rate_hz
        self._max_samples = max_ms * rate_hz // 1000
        self._frame_samples = rate_hz * FRAME_MS // 1000
        self._segments: dict[int, Segment] = {}
        """What has not been heard to its end, by tag, in the order in which they are heard."""
        self._clearing: set[int] = set()
        """Tags of what the leg is dropping: frames that left before are still to be told."""
        self._last_tag = 0
        self._waiting_samples = 0
        """Queued and not heard yet, but for what is being dropped."""
        self._untold_samples = 0
        """Dropped, and not marked yet."""
        self._told_ns: int | None = None
        """When the last mark of that was written."""
        self._over: list[Segment] = []
        self._broken_off: Segment | None = None
        """What was heard last, if the silence since then is a hole in it."""
        self._ended = False
        self.fills_silence = False
        """Something that gives way may be heard, or was."""

    @property
    def idle(self) -> bool:
        """Everything there was has been heard or dropped."""
        return not self._segments

    @property
    def head(self) -> Segment | None:
        """What is heard now, or next."""
        heard = (one for tag, one in self._segments.items() if tag not in self._clearing)
        return next(heard, None)

    @property
    def waiting_ms(self) -> float:
        """How long it takes to hear everything there is; the caller may hold it up."""
        return self.ms(self._waiting_samples)

    def write(self, segment: Segment, pcm: bytes) -> None:
        """Queue more of a segment.

        What does not fit the bound, the newest, is dropped, and the rest of its segment with it:
        the caller hears whole words up to there, and what was heard is still a place in the item.
        """
        samples = len(pcm) // BYTES_PER_SAMPLE
        room = 0 if segment.cut_short else self._max_samples - self._waiting_samples
        if samples > room:
            self._drop_rest(segment, samples - room)
            samples, pcm = room, pcm[: room * BYTES_PER_SAMPLE]
        if not samples:
            return
        if segment.tag not in self._segments or segment.tag in self._clearing:
            self._give_tag(segment)
        segment.queued += samples
        self._waiting_samples += samples
        self._context.effects.append(Play(pcm=pcm, tag=segment.tag))

    def complete(self, segment: Segment) -> None:
        """Nothing more of this segment will come; it may have been heard to its end already."""
        segment.complete = True
        if segment.played >= segment.queued:  # or else the hole is in front of what is still queued
            segment.missing = 0
        if segment.tag in self._segments and segment.tag not in self._clearing:
            self._end_if_whole(segment)

    def break_off(self, segment: Segment) -> None:
        """Nothing more of this segment will come, although there was more to say.

        A hole that is open is told. If what has come is still to be heard, the hole opens after
        that, and is one unless other audio follows: then the answer was made anew.
        """
        is_told = segment.played >= segment.queued and self._leave_hole(segment, Until.GIVEN_UP)
        segment.broken_off = not is_told
        self.complete(segment)

    def end(self) -> None:
        """The call ends, and the holes that are open with it."""
        if self._ended:
            return
        self._ended = True
        self._tell_dropped(at_once=True)
        for segment in self._segments.values():
            self._leave_hole(segment, Until.CALL_ENDED)
        self._leave_broken_off(Until.CALL_ENDED)

    def play(self, segment: Segment, pcm: bytes) -> None:
        """Queue a segment as a whole."""
        self.fills_silence = self.fills_silence or segment.gives_way
        self.write(segment, pcm)
        self.complete(segment)

    def frame_played(self, frame: FramePlayed) -> bool:
        """A frame has left, or several `routine_frames`. Returns whether a segment ended."""
        silent = self._frame_samples
        for tag, samples in frame.played:
            silent -= samples
            segment = self._segments.get(tag)
            if segment is not None and samples:
                self._advance(segment, samples, frame.at_ns)
        if silent > 0 and self._segments:
            self._open_hole(silent)
        if self._untold_samples:
            self._tell_dropped()
        return bool(self._over)

    @property
    def routine_frames(self) -> int:
        """So many frames may leave, all ours or all silent, before anything comes of one."""
        if self._over or self._clearing or self._untold_samples:
            return 0
        head = self.head
        if head is None:
            return _MANY_FRAMES
        begun = head.played and not head.missing
        if not begun or (len(self._segments) > 1 and not head.complete):
            return 0
        return max(0, (head.queued - head.played - 1) // self._frame_samples)

    def _drop_rest(self, segment: Segment, samples: int) -> None:
        """There is no room for it."""
        self._untold_samples += samples
        self._tell_dropped()
        segment.cut_short = True

    def _tell_dropped(self, *, at_once: bool = False) -> None:
        """Mark what was dropped, if that was not done just now: much of it is told in few marks."""
        now_ns = self._context.now_ns
        due = self._told_ns is None or now_ns - self._told_ns >= _TOLD_EVERY_NS
        if self._untold_samples and (due or at_once):
            dropped_ms = self.ms(self._untold_samples)
            self._context.mark("playout_overflowed", {"dropped_ms": dropped_ms})
            self._untold_samples, self._told_ns = 0, now_ns

    @property
    def most_samples(self) -> int:
        """As much as may wait."""
        return self._max_samples

    def take_over(self) -> list[Segment]:
        """The segments that were heard to their end, or cut, since the last time."""
        over = self._over
        self._over = []
        return over

    def overflowed(self, event: PlayoutOverflowed) -> None:
        """The leg's own buffer was full, and dropped the newest audio."""
        samples = event.dropped_samples
        self._untold_samples += samples
        self._tell_dropped()
        segment = self._segments.get(event.tag)
        if segment is not None:
            segment.queued -= samples
            segment.cut_short = True
            if event.tag not in self._clearing:
                self._waiting_samples -= samples
            self._end_if_whole(segment)

    def interrupt(self) -> None:
        """The caller barges in: drop what may be interrupted; `cleared` reports what that was."""
        self._leave_broken_off(Until.CLEARED)
        self._drop([one for one in self._segments.values() if one.interruptible])

    def disown(self) -> None:
        """Drop all that a server has said: it has sent what no good one would."""
        self._drop([one for one in self._segments.values() if one.item])

    def give_way(self) -> None:
        """An answer begins: drop what only filled the silence before it."""
        self.fills_silence = False
        self._drop([one for one in self._segments.values() if one.gives_way])

    def retract(self, segments: Iterable[Segment]) -> None:
        """Drop what holds nothing to hear: what comes next does not wait for its end."""
        silent = list(segments)
        for segment in silent:
            segment.gives_way = True
        self._drop([one for one in silent if one.tag in self._segments])

    def _drop(self, segments: list[Segment]) -> None:
        cleared = {one.tag: one for one in segments if one.tag not in self._clearing}
        if cleared:
            self._clearing.update(cleared)
            self._waiting_samples -= sum(one.queued - one.played for one in cleared.values())
            self._context.add(ClearPlayout(tags=frozenset(cleared)))

    def cleared(self, event: PlayoutCleared) -> list[Segment]:
        """The leg has dropped it, and every frame that left before has been counted.

        Returns what was dropped.
        """
        dropped = []
        for tag, _ in event.dropped:
            self._clearing.discard(tag)
            segment = self._segments.pop(tag, None)
            if segment is not None:
                dropped.append(segment)
                self._leave_hole(segment, Until.CLEARED)
                self._mark_cleared(segment)
        self._over += dropped
        return dropped

    def forget_items(self) -> None:
        """The session that made what is queued is gone; the caller hears it all the same."""
        for segment in self._segments.values():
            segment.forgotten = True

    def ms(self, samples: int) -> float:
        """Samples as milliseconds."""
        return samples * 1000 / self._rate_hz

    def _give_tag(self, segment: Segment) -> None:
        """A new one, also after it was dropped: the leg has no more of it."""
        self._last_tag += 1
        segment.tag = self._last_tag
        segment.queued = segment.played
        self._segments[segment.tag] = segment

    def _advance(self, segment: Segment, samples: int, at_ns: int) -> None:
        """So many samples of it have left."""
        if not segment.played:
            self._mark_started(segment, at_ns)
            self._broken_off = None
        if segment.missing:
            fields = {"item": segment.item or "", "missing_ms": self.ms(segment.missing)}
            self._context.mark("playout_underrun", fields, at_ns=at_ns)
            segment.missing = 0
        segment.played += samples
        segment.last_played_ns = at_ns
        if segment.tag not in self._clearing:
            self._waiting_samples -= samples
        if segment.played >= segment.queued:
            self._end_if_whole(segment)

    def _end_if_whole(self, segment: Segment) -> None:
        if not segment.whole:
            return
        del self._segments[segment.tag]
        self._mark_ended(segment, segment.last_played_ns)
        self._over.append(segment)
        if segment.broken_off and segment.played:
            self._broken_off = segment

    def _open_hole(self, samples: int) -> None:
        """So much of a frame was silence: a hole in what is heard, if that has run out."""
        begun = (segment for segment in self._segments.values() if segment.played)
        segment = next(begun, None)
        if segment is not None and segment.played >= segment.queued:
            segment.missing += samples

    def _leave_hole(self, segment: Segment, until: Until) -> bool:
        """Tell the hole that is open in a segment, of which nothing more will be heard.

        One of up to a frame is none: it opened as the end came. Returns whether there was one.
        """
        missing, segment.missing = segment.missing, 0
        if missing <= self._frame_samples:
            return False
        self._mark_hole(segment, self.ms(missing), until)
        return True

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
            self._mark_prompt_ended(segment, at_ns)

    def _mark_cleared(self, segment: Segment) -> None:
        if segment.gives_way:  # whatever cut it off
            if segment.played:  # else nobody heard it begin
                self._mark_ended(segment, self._context.now_ns)
            return
        fields: dict[str, object] = {
            "played_ms": self.ms(segment.played),
            "dropped_ms": self.ms(segment.queued - segment.played),
        }
        item = {"item": segment.item} if segment.item else {}
        self._context.mark("playout_cleared", {**item, **fields})
        if segment.kind is Kind.GREETING:
            self._mark_greeting_ended(segment, self._context.now_ns, interrupted=True)

    def _mark_prompt_ended(self, segment: Segment, at_ns: int) -> None:
        if segment.played:  # else nobody heard it begin
            fields = {"prompt": segment.origin, "played_ms": self.ms(segment.played)}
            self._context.mark("prompt_ended", fields, at_ns=at_ns)

    def _mark_greeting_ended(self, segment: Segment, at_ns: int, *, interrupted: bool) -> None:
        fields = {"played_ms": self.ms(segment.played), "interrupted": interrupted}
        self._context.mark("greeting_ended", fields, at_ns=at_ns)
