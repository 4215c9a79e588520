"""What a fuzzing run has reached: every move, mark and timer of the call machine, every fault.

A branch that no call ever took has not been tested by any of them, however many there were; the
summary of a run says which those are.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

from callerside.agent.call.events import Timer, TimerFired
from callerside.agent.call.states import TRANSITIONS
from callerside.agent.telephony.interface import Party
from callerside.fakes.session.faults import FAULTS
from callerside.mark_registry import MARKS
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.call import VirtualCall

_VARIANTS: Mapping[str, tuple[str, Sequence[object]]] = {
    "call_ended": ("by", get_args(Party)),
    "greeting_ended": ("interrupted", (True, False)),
    "greeting_started": ("origin", ("cache", "generated")),
    "prompt_started": ("prompt", ("hold", "farewell", "apology", "wait", "tone")),
    "response_done": ("status", ("completed", "cancelled", "failed", "incomplete")),
    "tool_finished": ("ok", (True, False)),
    "transfer_ended": ("status", (200, 603)),
}
"""Marks whose branches differ by a field, and its values."""

UNREACHABLE: Mapping[str, str] = {
    "CALL_RECEIVED to ENDED": "a call is answered by the same input that reports it; legal all the"
    " same, for any state may end",
    "audio_appended": "calls are not traced while they are fuzzed",
    "recording_started": "in memory it is the caller who records",
    "greeting_damaged": "a cache in memory is never damaged",
    "prompt_started hold": "made before any call, by `callerside-agent greet`; here it is the tone",
    "prompt_started farewell": "as is this one",
    "prompt_started apology": "as is this one",
    "prompt_started wait": "no function takes time in memory",
    "timer hang_up": "a line in memory always reports its end",
    "timer speech": "it is two minutes long, and a fuzzed call lasts less",
}
"""What no call of the fuzzer can reach, and why."""


def reached(call: VirtualCall) -> frozenset[str]:
    """The points that a call reached, in words."""
    faults = (mark for mark in call.realtime_marks if mark.name == "fault_applied")
    timers = (step.given.timer for step in call.trace if isinstance(step.given, TimerFired))
    return frozenset(
        {
            *map(_point, call.agent_marks),
            *(f"timer {timer}" for timer in timers),
            *(f"fault {mark.fields['fault']}" for mark in faults),
        }
    )


def expected() -> frozenset[str]:
    """Every point that a call may reach."""
    return everything() - UNREACHABLE.keys()


def everything() -> frozenset[str]:
    """Every point that there is."""
    moves = {
        f"{source} to {target}"
        for source, row in TRANSITIONS.items()
        for target in row.values()
        if source is not target
    }
    marks = {
        f"{name} {value}" if value is not None else name
        for name in MARKS["agent"]
        for value in _VARIANTS.get(name, ("", (None,)))[1]
    }
    timers = {f"timer {timer}" for timer in Timer}
    faults = {f"fault {name}" for name in FAULTS}
    return frozenset(moves | marks - {"state_changed"} | timers | faults)


def _point(mark: Mark) -> str:
    if mark.name == "state_changed":
        return f"{mark.fields['from']} to {mark.fields['to']}"
    if mark.name in _VARIANTS:
        return f"{mark.name} {mark.fields[_VARIANTS[mark.name][0]]}"
    return mark.name
