"""What the caller makes of what it hears: beeps, and the agent's utterances.

An utterance is what the agent says between two long silences: a greeting, or a reply, with the
pauses inside. The detector of the reports finds speech and silence; here that becomes utterances
with a beginning and an end on the clock. An utterance that the caller has spoken into ends at the
first short silence instead, as the agent is then expected to stop and begin anew. One that sounds
until the call ends has no end that could be heard: it was cut, or its last word was the last of the
call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from callerside.agent.telephony.interface import FRAME_MS
from callerside.clock import NS_PER_S, ms_to_ns, ns_to_ms
from callerside.reports.hearing.detector import (
    BeepHeard,
    Heard,
    SpeechAndToneDetector,
    SpeechEnded,
    SpeechStarted,
)

HANGOVER_MS = 200
"""Silence after which speech has paused; the shortest pause that can end an utterance."""
LAST_SILENCE_MS = 60
"""Silence before the end of the call by which speech had ended: as in the reports."""


@dataclass(slots=True)
class Beep:
    """A beep that was heard."""

    start_ns: int
    end_ns: int
    hz: float


@dataclass(slots=True)
class AgentUtterance:
    """Something the agent says. `quiet_ns`: since when it pauses, None while it sounds."""

    start_ns: int
    quiet_ns: int | None = None
    over: bool = False
    spoken_into: bool = False
    cut: bool = False
    """It still sounded when the call ended."""
    heard_out: bool = False
    """A step has waited for its end: it is not the next reply any more."""

    @property
    def end_ns(self) -> int | None:
        """When it ended, as soon as that is sure."""
        return self.quiet_ns if self.over else None


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """Something that has just become sure, for the timeline."""

    at_ns: int
    what: Literal["beep", "utterance started", "utterance ended", "pause"]
    length_ms: float = 0.0
    """Of a pause, in what is one utterance; `at_ns` is its end."""


class Listener:
    """Listens to the agent.

    Args:
        rate_hz: of the audio.
        end_silence_ms: silence after which an utterance is over.
    """

    def __init__(self, rate_hz: int, *, end_silence_ms: float) -> None:
        self.beeps: list[Beep] = []
        self.utterances: list[AgentUtterance] = []
        self._rate_hz = rate_hz
        self._end_silence_ns = ms_to_ns(end_silence_ms)
        self._hangover_ns = ms_to_ns(HANGOVER_MS)
        self._detector = SpeechAndToneDetector(rate_hz, hangover_ms=HANGOVER_MS)
        self._samples_fed = 0
        self._latest_ns = 0
        """When the newest sample arrived."""

    @property
    def sounding(self) -> bool:
        """Whether the agent is speaking just now."""
        return bool(self.utterances) and self.utterances[-1].quiet_ns is None

    def listen(self, pcm: bytes, at_ns: int) -> list[HeardEvent]:
        """Hear one frame that arrived at `at_ns`, and return what became sure by it."""
        start_sample = self._samples_fed
        self._samples_fed += len(pcm) // 2
        self._latest_ns = self._time(self._samples_fed, start_sample, at_ns)
        return self._notice(self._detector.feed(pcm), start_sample, at_ns)

    def _notice(self, heard: Sequence[Heard], start_sample: int, at_ns: int) -> list[HeardEvent]:
        heard_events: list[HeardEvent] = []
        for event in heard:
            match event:
                case BeepHeard():
                    start_ns = self._time(event.onset, start_sample, at_ns)
                    end_ns = self._time(event.end, start_sample, at_ns)
                    self.beeps.append(Beep(start_ns, end_ns, event.hz))
                    heard_events.append(HeardEvent(end_ns, "beep"))
                case SpeechStarted():
                    heard_events += self._speech_started(
                        self._time(event.sample, start_sample, at_ns)
                    )
                case SpeechEnded():
                    self.utterances[-1].quiet_ns = self._time(event.sample, start_sample, at_ns)
                case unknown:
                    assert_never(unknown)
        return heard_events

    def routine_frames(self, frames: int, coming: bytes | None) -> int:
        """How many of the frames that are coming may be heard at once; None: they are silent."""
        frame = self._rate_hz * FRAME_MS // 1000
        if coming is None and self._detector.idle:
            return frames
        return self._detector.routine_samples(coming or bytes(2 * frames * frame), frame) // frame

    def notice_silence(self, now_ns: int) -> list[HeardEvent]:
        """End an utterance whose silence has lasted; call at `silence_sure_ns`."""
        due_ns = self.silence_sure_ns()
        if due_ns is None or now_ns < due_ns:
            return []
        utterance = self.utterances[-1]
        utterance.over = True
        return [HeardEvent(utterance.quiet_ns or due_ns, "utterance ended")]

    def silence_sure_ns(self) -> int | None:
        """When the utterance that pauses now will be over, if the silence lasts."""
        utterance = self.utterances[-1] if self.utterances else None
        if utterance is None or utterance.over or utterance.quiet_ns is None:
            return None
        return utterance.quiet_ns + (
            self._hangover_ns if utterance.spoken_into else self._end_silence_ns
        )

    def spoken_into(self) -> None:
        """The caller has begun to speak: an utterance that goes on is expected to stop."""
        if self.utterances and not self.utterances[-1].over:
            self.utterances[-1].spoken_into = True

    def line_is_dead(self, now_ns: int) -> list[HeardEvent]:
        """The call is over: whatever sounded is silent now, and had ended if it was before."""
        last = [one for one in self._detector.finish() if not isinstance(one, BeepHeard)]
        heard_events = self._notice(last, self._samples_fed, self._latest_ns)
        utterance = self.utterances[-1] if self.utterances else None
        if utterance is None or utterance.over:
            return heard_events
        quiet_ns = utterance.quiet_ns if utterance.quiet_ns is not None else now_ns
        # What is heard at once, ahead of the clock, is no silence that was there before the end.
        heard_ns = min(self._latest_ns, now_ns)
        utterance.cut = heard_ns - quiet_ns < ms_to_ns(LAST_SILENCE_MS)
        utterance.quiet_ns = now_ns if utterance.cut else quiet_ns
        utterance.over = not utterance.cut
        return [*heard_events, HeardEvent(utterance.quiet_ns, "utterance ended")]

    def _speech_started(self, start_ns: int) -> list[HeardEvent]:
        heard_events = self.notice_silence(start_ns)
        if self.utterances and not self.utterances[-1].over:
            quiet_ns = self.utterances[-1].quiet_ns
            self.utterances[-1].quiet_ns = None
            paused_ms = ns_to_ms(start_ns - (start_ns if quiet_ns is None else quiet_ns))
            return [*heard_events, HeardEvent(start_ns, "pause", paused_ms)]
        self.utterances.append(AgentUtterance(start_ns))
        return [*heard_events, HeardEvent(start_ns, "utterance started")]

    def _time(self, sample: int, frame_sample: int, frame_ns: int) -> int:
        return frame_ns + (sample - frame_sample) * NS_PER_S // self._rate_hz
