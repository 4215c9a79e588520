"""What a fuzzing run has reached: every move, mark and timer of the call machine, every fault.

A branch that no call ever took has not been tested by any of them, however many there were; the
summary of a run says which those are. Beside these points it says which pairs there were: of a
state and what came in it, of a step and the state that it met, of a fault and its place. Of pairs
many cannot be; how many there were is told, and which were not by `--json`.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import get_args

from callerside.agent.call.events import Timer, TimerFired, ToolFinished
from callerside.agent.call.states import TRANSITIONS, State
from callerside.agent.realtime.interface import (
    RealtimeClosed,
    RealtimeConnected,
    RealtimeEvent,
    RealtimeGarbage,
)
from callerside.agent.telephony.interface import (
    DtmfReceived,
    HungUp,
    MediaHeld,
    MediaReady,
    Party,
    PlayoutCleared,
    TransferProgressed,
)
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


_INPUTS = (
    RealtimeConnected,
    RealtimeClosed,
    RealtimeGarbage,
    DtmfReceived,
    HungUp,
    MediaHeld,
    MediaReady,
    PlayoutCleared,
    ToolFinished,
    TransferProgressed,
)
_TO_CALLER = ("hold", "press", "resume", "say", "sound", "hang_up", "vanish")
"""Steps that the agent notices."""


def pairs(call: VirtualCall) -> frozenset[str]:
    """What came together in a call, in words: `event … in STATE`, `step … in STATE`, `… at …`."""
    found: set[str] = set()
    changes = [(mark.at_ns, str(mark.fields["to"])) for mark in call.agent_marks if _is_move(mark)]
    times = [at_ns for at_ns, _ in changes]

    def state(at_ns: int) -> str:
        """That before whatever happened then."""
        place = bisect_left(times, at_ns)
        return changes[place - 1][1] if place else State.CALL_RECEIVED.value

    for step in call.trace:
        what = _came(step.given)
        if what is not None:
            found.add(f"event {what} in {state(step.at_ns)}")
    for mark in call.caller_marks:
        if mark.name == "step_started" and mark.fields["kind"] in _TO_CALLER:
            found.add(f"step {mark.fields['kind']} in {state(mark.at_ns)}")
    for mark in call.realtime_marks:
        if mark.name == "fault_applied":
            found.add(f"fault {mark.fields['fault']} at {str(mark.fields['at']).split()[0]}")
    return frozenset(found)


def all_pairs() -> frozenset[str]:
    """Every pair that could be, whether or not there is a way to it."""
    states = [state.value for state in State if state is not State.ENDED]
    events = [*_EVENTS, *(kind.__name__ for kind in _INPUTS)]
    return frozenset(
        {
            *(f"event {event} in {state}" for event in events for state in states),
            *(f"event timer {timer} in {state}" for timer in Timer for state in states),
            *(f"step {step} in {state}" for step in _TO_CALLER for state in states),
            *(f"fault {name} at {place}" for name, kind in FAULTS.items() for place in kind.places),
        }
    )


_EVENTS = frozenset(
    {
        "error",
        "input_audio_buffer.committed",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "conversation.item.truncated",
        "response.created",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.function_call_arguments.done",
        "response.done",
        "session.created",
        "session.updated",
    }
)
"""Types of the server's events that mean something to the agent."""


def _is_move(mark: Mark) -> bool:
    return mark.name == "state_changed"


def _came(given: object) -> str | None:
    """What an input is called here; None for those of every frame."""
    if isinstance(given, RealtimeEvent):
        kind = given.event.get("type")
        return kind if kind in _EVENTS else None
    if isinstance(given, TimerFired):
        return f"timer {given.timer}"
    return type(given).__name__ if isinstance(given, _INPUTS) else None


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
