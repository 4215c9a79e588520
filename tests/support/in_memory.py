"""A fake session driven in memory, under a clock that tests turn by hand."""

import random
from collections.abc import Mapping
from typing import Any

from declared import assert_declared

from callerside.clock import ms_to_ns
from callerside.fakes.recording.format import Entry, Header, Recording
from callerside.fakes.recording.replay import ReplaySession
from callerside.fakes.script.model import Script
from callerside.fakes.script.prepare import prepare
from callerside.fakes.script.prepared import PreparedScript
from callerside.fakes.session.context import Observation
from callerside.fakes.session.interface import (
    CancelTimer,
    ClientEvent,
    CloseConnection,
    ConnectionRequested,
    Effect,
    EmitMark,
    Input,
    SendEvent,
    SetTimer,
    TimerFired,
)
from callerside.fakes.session.session import RealtimeSession
from callerside.marks import Mark
from callerside.speech.synthesis import synthesise

FRAME_BYTES = 960  # 20 ms at 24 kHz


class Client:
    """Talks to a session; `events` is what it was sent, `times_ms` when."""

    def __init__(
        self,
        script: Mapping[str, Any] | Script | PreparedScript | ReplaySession | None = None,
        *,
        request: ConnectionRequested | None = None,
        observation: Observation | None = None,
        session_number: int = 1,
        lenient: bool = False,
    ) -> None:
        self.session = (
            script
            if isinstance(script, ReplaySession)
            else _scripted(script, observation, session_number, lenient=lenient)
        )
        self.now_ns = 0
        self.recorded: list[Entry] = []
        self.events: list[dict[str, Any]] = []
        self.times_ms: list[float] = []
        self.marks: list[Mark] = []
        self.effects: list[Effect] = []
        self.closed: CloseConnection | None = None
        self._timers: dict[str, int] = {}
        self.feed(request or ConnectionRequested())

    @property
    def now_ms(self) -> float:
        return self.now_ns / 1e6

    def feed(self, given: Input) -> None:
        if isinstance(given, ClientEvent):
            self.recorded.append(Entry(self.now_ns / 1e9, "client", dict(given.event)))
        for effect in self.session.handle(given, self.now_ns):
            self.effects.append(effect)
            match effect:
                case SendEvent(event):
                    self.recorded.append(Entry(self.now_ns / 1e9, "server", dict(event)))
                    self.events.append(dict(event))
                    self.times_ms.append(self.now_ms)
                case EmitMark(mark):
                    assert_declared(mark.source, mark.name, mark.fields)
                    self.marks.append(mark)
                case SetTimer(name, at_ns):
                    self._timers[name] = at_ns
                case CancelTimer(name):
                    self._timers.pop(name, None)
                case CloseConnection():
                    self.closed = effect
                case _:
                    pass  # it is among the effects

    def send(self, event_type: str, **fields: Any) -> None:
        self.feed(ClientEvent({"type": event_type, **fields}))

    def wait(self, length_ms: float) -> None:
        end_ns = self.now_ns + ms_to_ns(length_ms)
        while self._timers:
            name = min(self._timers, key=lambda name: self._timers[name])
            if self._timers[name] > end_ns:
                break
            self.now_ns = max(self.now_ns, self._timers.pop(name))
            self.feed(TimerFired(name))
        self.now_ns = end_ns

    def hear(self, pcm: bytes) -> None:
        """Append audio in real time, 20 ms at a time."""
        for start in range(0, len(pcm), FRAME_BYTES):
            self.send("input_audio_buffer.append", audio=pcm[start : start + FRAME_BYTES])
            self.wait(20)

    def say(self, text: str = "What time do you open?", *, then_silence_ms: int = 1000) -> None:
        self.hear(synthesise(text) + bytes(48 * then_silence_ms))

    def update(self, **session: Any) -> None:
        self.send("session.update", session={"type": "realtime", **session})

    def turn_detection(self, detection: Mapping[str, Any] | None) -> None:
        self.update(audio={"input": {"turn_detection": detection}})

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def all(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == event_type]

    def only(self, event_type: str) -> dict[str, Any]:
        (event,) = self.all(event_type)
        return event

    def time_ms(self, event_type: str) -> float:
        """When the first event of this type came."""
        return self.times_ms[self.types.index(event_type)]

    def marked(self, name: str) -> list[Mark]:
        return [mark for mark in self.marks if mark.name == name]

    def recording(self) -> Recording:
        """Everything that has passed."""
        return Recording(Header(model="gpt-realtime-2.1"), tuple(self.recorded))


def _scripted(
    script: Mapping[str, Any] | Script | PreparedScript | None,
    observation: Observation | None,
    session_number: int,
    *,
    lenient: bool,
) -> RealtimeSession:
    if not isinstance(script, PreparedScript):
        model = script if isinstance(script, Script) else Script.model_validate(script or {})
        script = prepare(model)
    return RealtimeSession(
        script,
        call="test",
        rng=random.Random(7),
        unix_time_s=1_000,
        lenient=lenient,
        session_number=session_number,
        observation=observation,
    )
