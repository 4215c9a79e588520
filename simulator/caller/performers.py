"""Performs the steps, one function for each: it acts, and returns how the step ends.

A step is declared in `simulator.scenario.steps`. One that nobody performs here would pass without
having been done, so it cannot be imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from callerside.clock import ms_to_ns
from callerside.registry import refuse_unperformed
from callerside.simulator.caller.call_state import ObservedCall
from callerside.simulator.caller.events import Effect, EmitMark, SendDtmf
from callerside.simulator.caller.events import Hold as HoldLeg
from callerside.simulator.caller.events import Resume as ResumeLeg
from callerside.simulator.caller.expect import Met, Waiting, expectation
from callerside.simulator.scenario import steps
from callerside.simulator.scenario.steps import ACTIONS, AnyStep

KEY_MS = 250.0
"""How long the telephone takes to send one key, with the pause behind it."""

Ends = Callable[[int], Waiting | Met]
"""Told the time: whether the step has done what it is for, or what there is to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a performer works with."""

    now_ns: int
    moment_ns: int
    """That of the step's `when`, which may have become sure only later; at most `now_ns`, and not
    before the step began."""
    observed: ObservedCall
    audio: bytes | None
    """PCM of what is audible of the step."""
    effects: list[Effect]
    """What is to be done; the performer adds to it."""

    def mark(self, name: str, **fields: object) -> None:
        """Put a fact on the timeline."""
        self.effects.append(EmitMark(at_ns=self.now_ns, name=name, fields=fields))


_S = TypeVar("_S", bound=AnyStep)
_Performer = Callable[[_S, StepContext], Ends]
PERFORMERS: dict[type, _Performer[Any]] = {}


def _performs(kind: type[_S]) -> Callable[[_Performer[_S]], _Performer[_S]]:
    def register(perform: _Performer[_S]) -> _Performer[_S]:
        PERFORMERS[kind] = perform
        return perform

    return register


@_performs(steps.Say)
def _say(step: steps.Say, call: StepContext) -> Ends:
    call.observed.turns += 1
    return _speak(str(step.say), call, turn=call.observed.turns)


@_performs(steps.MakeSound)
def _make_sound(step: steps.MakeSound, call: StepContext) -> Ends:
    return _speak(step.sound, call)


@_performs(steps.Press)
def _press(step: steps.Press, call: StepContext) -> Ends:
    if step.method == "inband":
        ends = _speak(step.press, call)
    else:
        call.effects.append(SendDtmf(digits=step.press, method=step.method))
        ends = _lasts(KEY_MS * len(step.press), call)
    call.observed.turn_ended(call.now_ns)
    call.mark("dtmf_sent", digits=step.press, method=step.method)
    return ends


@_performs(steps.Pause)
def _pause(step: steps.Pause, call: StepContext) -> Ends:
    return _lasts(step.pause, call)


@_performs(steps.Hold)
def _hold(_: steps.Hold, call: StepContext) -> Ends:
    call.effects.append(HoldLeg())
    return _at_once


@_performs(steps.Resume)
def _resume(_: steps.Resume, call: StepContext) -> Ends:
    call.effects.append(ResumeLeg())
    return _at_once


@_performs(steps.HangUp)
def _hang_up(_: steps.HangUp, _call: StepContext) -> Ends:
    return _at_once  # the machine hangs up when its steps are done


@_performs(steps.Vanish)
def _vanish(_: steps.Vanish, call: StepContext) -> Ends:
    call.observed.vanished = True
    return _at_once


@_performs(steps.Expect)
def _expect(step: steps.Expect, call: StepContext) -> Ends:
    return lambda now_ns: expectation(step, call.observed, call.moment_ns, now_ns)


refuse_unperformed(ACTIONS, PERFORMERS, __name__)


def _speak(text: str, call: StepContext, turn: int | None = None) -> Ends:
    """Ends with the last frame."""
    assert call.audio is not None, text  # noqa: S101 - made before the call
    utterance = call.observed.speech.say(text, call.audio, turn)
    return lambda _: Waiting() if utterance.ended_ns is None else Met()


def _lasts(length_ms: float, call: StepContext) -> Ends:
    end_ns = call.now_ns + ms_to_ns(length_ms)
    return lambda now_ns: Waiting(end_ns) if now_ns < end_ns else Met()


def _at_once(_now_ns: int) -> Met:
    return Met()
