"""Runs the caller machine's effects against a leg and a clock, in either lane. No asyncio here."""

from collections.abc import Callable
from typing import Any

from callerside.agent.telephony.interface import CallerLeg
from callerside.clock import Clock
from callerside.marks import Mark, MarkSink
from callerside.simulator.caller.events import (
    CallerInput,
    CancelTimer,
    Dial,
    Effect,
    EmitMark,
    Finish,
    HangUp,
    Hold,
    Play,
    Resume,
    SendDtmf,
    SetTimer,
    Start,
    TimerFired,
    TimerName,
    Vanish,
)
from callerside.simulator.caller.machine import CallerMachine
from callerside.timers import TimerSet


class CallerDriver:
    """One call of one scenario.

    Args:
        machine: decides.
        leg: the telephone; not started yet.
        clock: of the lane.
        marks: where the caller's marks go.
        call: id of the call in marks.
        on_finish: called with the verdict, exactly once, as the last thing.
    """

    def __init__(
        self,
        machine: CallerMachine,
        leg: CallerLeg,
        clock: Clock,
        marks: MarkSink,
        *,
        call: str,
        on_finish: Callable[[Finish], None],
    ) -> None:
        self._machine = machine
        self._leg = leg
        self._clock = clock
        self._marks = marks
        self._call = call
        self._on_finish = on_finish
        self._timers = TimerSet[TimerName](clock, self._fire)
        self._finished = False
        self._runners: dict[type[Effect], Callable[[Any], None]] = {
            Dial: lambda effect: leg.dial(effect.uri),
            Play: lambda effect: leg.play(effect.pcm),
            HangUp: lambda _: leg.hang_up(),
            Vanish: lambda _: leg.vanish(),
            SendDtmf: lambda effect: leg.send_dtmf(effect.digits, effect.method),
            Hold: lambda _: leg.hold(),
            Resume: lambda _: leg.resume(),
            SetTimer: lambda effect: self._timers.set(effect.name, effect.at_ns),
            CancelTimer: lambda effect: self._timers.cancel(effect.name),
            EmitMark: self._emit,
            Finish: self._finish,
        }

    @property
    def phase(self) -> str:
        """What the caller is doing, for people who watch."""
        return self._machine.phase

    def start(self) -> None:
        """Place the call."""
        self._leg.start(self._handle)
        self._handle(Start())

    def _handle(self, event: CallerInput) -> None:
        if self._finished:
            return
        for effect in self._machine.handle(event, self._clock.now_ns()):
            self._runners[type(effect)](effect)

    def _emit(self, effect: EmitMark) -> None:
        self._marks(
            Mark(
                at_ns=effect.at_ns,
                source="caller",
                call=self._call,
                name=effect.name,
                fields=effect.fields,
            )
        )

    def _fire(self, name: TimerName) -> None:
        self._handle(TimerFired(name=name))

    def _finish(self, verdict: Finish) -> None:
        self._finished = True
        self._timers.cancel_all()
        self._on_finish(verdict)
