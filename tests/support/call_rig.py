"""A call machine on a bench: told what the telephone and the API say, under a clock of its own.

Timers fire when `wait` lets time pass. The leg on this bench plays what it is given, frame by
frame, so that `FramePlayed` and `PlayoutCleared` say what a real one would.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from declared import assert_declared

from callerside.agent.call import events as effects
from callerside.agent.call.events import CallInput, PromptLoaded, PromptStored, Timer, TimerFired
from callerside.agent.call.machine import CallMachine
from callerside.agent.call.states import State
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import Prompt
from callerside.agent.realtime.interface import RealtimeClosed, RealtimeConnected, RealtimeEvent
from callerside.agent.realtime.requests import append
from callerside.agent.telephony.interface import (
    NOTHING_PLAYED,
    AudioReceived,
    CallAnswered,
    CallReceived,
    FramePlayed,
    HungUp,
    MediaReady,
    PlayoutCleared,
    PlayoutOverflowed,
)
from callerside.agent.telephony.media.playout_buffer import PlayoutBuffer
from callerside.clock import NS_PER_MS
from callerside.yaml.variables import merge

FRAME_NS = 20 * NS_PER_MS
START_NS = 1_000_000_000
NO_GREETING = {"greeting": {"enabled": False}, "beep": {"enabled": False}}


class CallRig:
    """One call."""

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        rate_hz: int = 24_000,
        called: str = "100",
        prompts: Mapping[str, Prompt] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        strict: bool = True,
    ) -> None:
        self.settings = CallSettings.model_validate(settings or {})
        self.machine = CallMachine(
            self.settings,
            called=called,
            sample_rate_hz=rate_hz,
            tools=[dict(tool) for tool in tools],
            strict=strict,
        )
        self.rate_hz = rate_hz
        self.frame_samples = rate_hz // 50
        self.now_ns = START_NS
        self.prompts = dict(prompts or {})
        self.stored: dict[str, Prompt] = {}
        self.effects: list[effects.Effect] = []
        self.timers: dict[Timer, int] = {}
        self.buffer = PlayoutBuffer(rate_hz * 600)
        self.held = False
        """Nothing of what waits leaves."""
        self.loads_prompts = True
        self.told: list[CallInput] = []
        self.finished = False

    # What happened.

    def tell(self, event: CallInput) -> list[effects.Effect]:
        """Tell the machine, run what it asks of this bench; answers what it asked for."""
        asked = self.machine.handle(event, self.now_ns)
        self.effects += asked
        follow_ups: list[CallInput] = []
        for effect in asked:
            follow_ups += self._run(effect)
        for follow_up in follow_ups:
            asked = asked + self.tell(follow_up)
        return asked

    def event(self, event_type: str, **fields: Any) -> list[effects.Effect]:
        """The server says something."""
        return self.tell(RealtimeEvent(event={"type": event_type, "event_id": "e", **fields}))

    def wait(self, length_ms: float) -> None:
        """Let time pass: timers fire, frames leave (nothing is received)."""
        end_ns = self.now_ns + round(length_ms * NS_PER_MS)
        next_frame_ns = self.now_ns + FRAME_NS
        while not self.finished:
            due = min(self.timers.items(), key=lambda item: item[1], default=None)
            timer_ns = due[1] if due else end_ns + 1
            if min(timer_ns, next_frame_ns) > end_ns:
                break
            if due and timer_ns <= next_frame_ns:
                self.now_ns = max(self.now_ns, timer_ns)
                del self.timers[due[0]]
                self.tell(TimerFired(timer=due[0]))
            else:
                self.now_ns = next_frame_ns
                next_frame_ns += FRAME_NS
                self.frame_leaves()
        self.now_ns = max(self.now_ns, end_ns)

    def frame_leaves(self) -> None:
        """The media clock takes a frame."""
        played = NOTHING_PLAYED if self.held else self.buffer.read(self.frame_samples)[1]
        self.tell(FramePlayed(played=played, at_ns=self.now_ns))

    def caller_audio(self, length_ms: int = 20, byte: bytes = b"\1\0") -> list[effects.Effect]:
        """The caller's audio arrives, frame by frame, all at once."""
        asked: list[effects.Effect] = []
        for _ in range(length_ms // 20):
            pcm = byte * self.frame_samples
            asked += self.tell(AudioReceived(pcm=pcm, at_ns=self.now_ns))
        return asked

    # Short ways into the middle of a call.

    def ring(self) -> "CallRig":
        """INVITE, ACK."""
        self.tell(CallReceived(called="100", caller="200", sip_call_id="s1"))
        self.tell(CallAnswered())
        return self

    def media(self, codec: str = "PCMU") -> "CallRig":
        self.tell(MediaReady(codec=codec))
        return self

    def connect(self, *, update: bool = True) -> "CallRig":
        """The socket opens, the session is made and updated."""
        self.tell(RealtimeConnected())
        self.event("session.created", session={"id": "sess_1"})
        if update:
            self.event("session.updated", session={})
        return self

    def listening(self) -> "CallRig":
        """A call that waits for the caller's first words."""
        self.ring().media().connect()
        self.wait(0)
        assert self.state == State.LISTENING, self.state
        return self

    def lose(self, reason: str = "lost", **fields: Any) -> None:
        """The connection is gone."""
        self.tell(RealtimeClosed(reason=reason, **fields))

    def hang_up(self) -> None:
        """The caller says goodbye."""
        self.tell(HungUp(by="caller", status=200, reason="OK"))

    def turn(self, item: str = "u1") -> None:
        """The caller speaks, up to the commit."""
        self.event("input_audio_buffer.speech_started", item_id=item, audio_start_ms=0)
        self.event("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=900)
        self.event("input_audio_buffer.committed", item_id=item, previous_item_id=None)

    def respond(
        self,
        response: str = "r1",
        *,
        item: str = "a1",
        audio_ms: float = 100,
        purpose: str | None = None,
        done: str | None = "completed",
        transcript: str = "Hello.",
    ) -> None:
        """A response: created, its audio, and (unless `done` is None) its end."""
        metadata = {"purpose": purpose} if purpose else None
        self.event("response.created", response={"id": response, "metadata": metadata})
        self.delta(audio_ms, response=response, item=item)
        if done is not None:
            self.response_done(response, item=item, status=done, transcript=transcript)

    def delta(
        self, audio_ms: float, *, response: str = "r1", item: str = "a1"
    ) -> list[effects.Effect]:
        pcm = b"\0\2" * round(audio_ms * self.rate_hz / 1000)
        return self.event(
            "response.output_audio.delta", response_id=response, item_id=item, delta=pcm
        )

    def response_done(
        self,
        response: str = "r1",
        *,
        item: str = "a1",
        status: str = "completed",
        transcript: str = "Hello.",
        details: Mapping[str, Any] | None = None,
        output: list[dict[str, Any]] | None = None,
    ) -> None:
        ids = {"response_id": response, "item_id": item}
        self.event("response.output_audio.done", **ids)
        self.event("response.output_audio_transcript.done", **ids, transcript=transcript)
        self.event(
            "response.done",
            response={
                "id": response,
                "status": status,
                "status_details": details,
                "output": output or [],
            },
        )

    # What came of it.

    @property
    def state(self) -> str:
        """Of no narrower type: a type checker would believe that it never changes."""
        return self.machine.state

    def sent(self, event_type: str) -> list[Mapping[str, Any]]:
        """Events of a type that were sent so far."""
        return [event for event in self._all_sent() if event["type"] == event_type]

    def sent_types(self) -> list[str]:
        """The types of all events that were sent so far."""
        return [str(event["type"]) for event in self._all_sent()]

    def _all_sent(self) -> Iterator[Mapping[str, Any]]:
        for effect in self.effects:
            if isinstance(effect, effects.SendEvent):
                yield effect.event
            elif isinstance(effect, effects.AppendAudio):
                yield append(effect.audio)

    def marks(self, name: str) -> list[Mapping[str, Any]]:
        """The fields of the marks of a name, so far."""
        return [
            m.fields for m in self.effects if isinstance(m, effects.EmitMark) and m.name == name
        ]

    def mark_times_ms(self, name: str) -> list[float]:
        """When marks of a name were written, from the call's start."""
        times = [
            m.at_ns for m in self.effects if isinstance(m, effects.EmitMark) and m.name == name
        ]
        return [(at_ns - START_NS) / NS_PER_MS for at_ns in times]

    def asked(self, kind: type[effects.Effect]) -> list[Any]:
        """Effects of a kind so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def states(self) -> list[str]:
        """The states that the call has been in, in order."""
        return ["CALL_RECEIVED", *(str(fields["to"]) for fields in self.marks("state_changed"))]

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.effects.clear()

    def _marks(self, name: str) -> list[effects.EmitMark]:
        marks = [effect for effect in self.effects if isinstance(effect, effects.EmitMark)]
        return [mark for mark in marks if mark.name == name]

    def _run(self, effect: effects.Effect) -> list[CallInput]:
        if isinstance(effect, effects.Play):
            dropped = self.buffer.write(effect.pcm, effect.tag)
            if dropped:
                return [PlayoutOverflowed(tag=effect.tag, dropped_samples=dropped)]
        elif isinstance(effect, effects.ClearPlayout):
            return [PlayoutCleared(dropped=self.buffer.clear(effect.tags))]
        elif isinstance(effect, effects.SetTimer):
            self.timers[effect.timer] = effect.at_ns
        elif isinstance(effect, effects.CancelTimer):
            self.timers.pop(effect.timer, None)
        elif isinstance(effect, effects.LoadPrompt) and self.loads_prompts:
            prompt = self.prompts.get(effect.key)
            pcm, transcript = (prompt.pcm, prompt.transcript) if prompt else (None, "")
            return [PromptLoaded(key=effect.key, pcm=pcm, transcript=transcript)]
        elif isinstance(effect, effects.StorePrompt):
            self.stored[effect.key] = Prompt(pcm=effect.pcm, transcript=effect.transcript)
            return [PromptStored(key=effect.key)]
        elif isinstance(effect, effects.EmitMark):
            assert_declared("agent", effect.name, effect.fields)
        elif isinstance(effect, effects.Finish):
            self.finished = True
        return []


def with_settings(*overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, the later over the earlier."""
    merged: dict[str, Any] = {}
    for override in overrides:
        merged = merge(merged, override)
    return merged
