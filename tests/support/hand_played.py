"""Plays whole calls to the caller machine by hand: a telephone and an agent in a few lines.

The agent is a list of things that it lets the caller hear: `(what sets it off, after how many ms,
audio)`. What sets it off is the name of one of the caller's marks, perhaps with a turn.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from textwrap import dedent

from declared import assert_declared

from callerside import audio
from callerside.agent.telephony.interface import (
    AudioReceived,
    CallAnswered,
    FramePlayed,
    HungUp,
    LegInput,
    MediaReady,
)
from callerside.clock import ms_to_ns
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.caller.events import (
    CallerInput,
    CancelTimer,
    Effect,
    EmitMark,
    Finish,
    HangUp,
    Play,
    SetTimer,
    Start,
    TimerFired,
    TimerName,
    Vanish,
)
from callerside.simulator.caller.machine import CallerMachine
from callerside.simulator.scenario.loader import load_file
from callerside.simulator.scenario.model import Scenario
from callerside.speech.synthesis import synthesise

RATE_HZ = 16_000
FRAME_BYTES = RATE_HZ // 50 * 2
ANSWER_MS = 50


@cache
def speech(text: str = "We open at nine.") -> bytes:
    return synthesise(text, rate_hz=RATE_HZ)


BEEP = audio.tone(440, 400, RATE_HZ)


@dataclass
class Heard:
    """The agent: after `mark` (of this `turn`), `after_ms` later, the caller hears `pcm`."""

    mark: str
    after_ms: float
    pcm: bytes
    turn: int | None = None


@dataclass
class Told:
    """The telephone tells `event` so long after the call was answered."""

    at_ms: float
    event: LegInput


FLOW = [Heard("media_ready", 60, BEEP), Heard("beep_heard", 100, speech("Hello there, caller."))]


def scenario(folder: Path, text: str) -> Scenario:
    """A scenario from the text of a file, without its `about`."""
    path = folder / "played.yaml"
    path.write_text("about: A test.\n" + dedent(text))
    return load_file(path)[0]


@dataclass
class Call:
    """One call, played to its end."""

    scenario: Scenario
    agent: Sequence[Heard] = ()
    told: Sequence[Told] = ()
    answered: bool = True
    stops_when_spoken_to: bool = True
    hangs_up_properly: bool = True
    now_ns: int = 0
    effects: list[Effect] = field(default_factory=list)
    finish: Finish | None = None

    def __post_init__(self) -> None:
        audio_of_steps = prepare(self.scenario, RATE_HZ)
        self.machine = CallerMachine(
            self.scenario,
            audio_of_steps,
            uri="sip:agent@127.0.0.1",
            rate_hz=RATE_HZ,
            rng=random.Random(1),
        )
        self._mouth = bytearray()
        self._ear = bytearray()
        self._timers: dict[TimerName, int] = {}
        self._waiting = sorted(self.told, key=lambda told: told.at_ms)

    def play(self, limit_ms: float = 120_000) -> "Call":
        self._tell(Start())
        if self.answered:
            self.now_ns = ms_to_ns(ANSWER_MS)
            self._tell(CallAnswered())
            self._tell(MediaReady(codec="PCMU"))
        while self.finish is None and self.now_ns < ms_to_ns(limit_ms):
            self.now_ns += ms_to_ns(20)
            self._tick()
        assert self.finish is not None, "the caller never finished"
        return self

    def marks(self, name: str) -> list[EmitMark]:
        return [e for e in self.effects if isinstance(e, EmitMark) and e.name == name]

    def at_ms(self, name: str, number: int = 0) -> float:
        return self.marks(name)[number].at_ns / 1e6

    @property
    def waits_for(self) -> set[TimerName]:
        """Timers that are set."""
        return set(self._timers)

    @property
    def verdict(self) -> str:
        assert self.finish is not None
        return self.finish.verdict

    @property
    def detail(self) -> str:
        assert self.finish is not None
        return self.finish.detail

    def _tick(self) -> None:
        for name, at_ns in sorted(self._timers.items(), key=lambda item: item[1]):
            if at_ns <= self.now_ns and self._timers.pop(name, None) is not None:
                self._tell(TimerFired(name=name))
        while self._waiting and ms_to_ns(self._waiting[0].at_ms + ANSWER_MS) <= self.now_ns:
            self._tell(self._waiting.pop(0).event)
        if self.answered:
            frame = bytes(self._ear[:FRAME_BYTES]).ljust(FRAME_BYTES, b"\0")
            del self._ear[:FRAME_BYTES]
            self._tell(AudioReceived(pcm=frame, at_ns=self.now_ns))
            left = min(len(self._mouth), FRAME_BYTES)
            del self._mouth[:left]
            self._tell(FramePlayed(played=((0, left // 2),), at_ns=self.now_ns))

    def _tell(self, event: CallerInput) -> None:
        for effect in self.machine.handle(event, self.now_ns):
            self.effects.append(effect)
            match effect:
                case Play():
                    self._mouth.extend(effect.pcm)
                case SetTimer():
                    self._timers[effect.name] = effect.at_ns
                case CancelTimer():
                    self._timers.pop(effect.name, None)
                case EmitMark():
                    assert_declared("caller", effect.name, effect.fields)
                    self._let_hear(effect)
                case HangUp() | Vanish() if self.hangs_up_properly:
                    self._waiting.insert(0, Told(0, HungUp(by="caller", status=200, reason="")))
                case Finish():
                    self.finish = effect
                case _:
                    pass  # it is among the effects

    def _let_hear(self, mark: EmitMark) -> None:
        if mark.name == "utterance_started" and self.stops_when_spoken_to:
            del self._ear[RATE_HZ * 2 // 5 :]  # 200 ms until it stops
        for heard in self.agent:
            if heard.mark == mark.name and heard.turn in (None, mark.fields.get("turn")):
                self._ear.extend(audio.silence(heard.after_ms, RATE_HZ) + heard.pcm)
