"""What a fuzzing run has reached: every move, mark and timer of the call machine, every fault.

A branch that no call ever took has not been tested by any of them, however many there were; the
summary of a run says which those are. Beside these points it says which pairs there were: of a
state and what came in it, of a step and the state that it met, of a fault and its place, and which
others can be. That is taken from the table of states: a trigger that a row does not know comes
there where a fault breaks the protocol, and not otherwise.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import get_args

from callerside.agent.call.events import EmitMark, Timer, TimerFired, ToolFinished
from callerside.agent.call.states import TRANSITIONS, State, Trigger
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


_TO_CALLER = ("hold", "press", "resume", "say", "sound", "hang_up", "vanish")
"""Steps that the agent notices."""

_ALIVE = frozenset(state for state in State if Trigger.ENDED in TRANSITIONS[state])
"""A caller may do something before the call has come to the agent."""
_ANSWERED = _ALIVE - {state for state in _ALIVE if Trigger.ANSWER_SENT in TRANSITIONS[state]}
"""A call is answered by the input that reports it: nothing else comes before that."""
_UP = _ANSWERED - {
    state
    for state in _ANSWERED
    if Trigger.MEDIA_UP in TRANSITIONS[state] and Trigger.TURNS_OPENED not in TRANSITIONS[state]
}
"""There is, or was, media."""
_TALKING = frozenset(
    state
    for state in _UP
    if Trigger.SESSION_MISSED in TRANSITIONS[state]
    and Trigger.TURNS_OPENED not in TRANSITIONS[state]
)
"""There is a session: who misses it leaves these states."""
_WITHOUT_SESSION = _ANSWERED - _TALKING
_NOWHERE: frozenset[State] = frozenset()
"""See `UNREACHABLE`."""

_COMES: Mapping[str, Trigger | frozenset[State]] = {
    DtmfReceived.__name__: _UP,
    HungUp.__name__: _ANSWERED,
    MediaHeld.__name__: _UP,
    MediaReady.__name__: _ANSWERED,
    PlayoutCleared.__name__: _UP,
    RealtimeClosed.__name__: _ANSWERED,
    RealtimeConnected.__name__: _WITHOUT_SESSION,
    RealtimeGarbage.__name__: _ANSWERED,
    ToolFinished.__name__: _UP,
    TransferProgressed.__name__: _UP,
    "conversation.item.truncated": _UP,
    "error": _ANSWERED,
    "input_audio_buffer.committed": Trigger.COMMITTED,
    "input_audio_buffer.speech_started": Trigger.SPEECH_STARTED,
    "input_audio_buffer.speech_stopped": Trigger.SPEECH_STOPPED,
    "response.created": Trigger.RESPONSE_CREATED,
    "response.done": Trigger.RESPONSE_OVER,
    "response.function_call_arguments.done": Trigger.RESPONSE_HEARD,
    "response.output_audio.delta": Trigger.RESPONSE_HEARD,
    "response.output_audio.done": Trigger.RESPONSE_HEARD,
    "session.created": _WITHOUT_SESSION,
    "session.updated": _WITHOUT_SESSION,
    "timer call": _ANSWERED,
    "timer commit": Trigger.COMMITTED,
    "timer connect": _WITHOUT_SESSION,
    "timer consultation": _UP,
    "timer dtmf_gap": _UP,
    "timer farewell": _UP,
    "timer greeting_due": Trigger.GREETING_BEGUN,
    "timer hang_up": _NOWHERE,
    "timer hold_due": _WITHOUT_SESSION,
    "timer media": Trigger.MEDIA_UP,
    "timer reconnect_due": _WITHOUT_SESSION,
    "timer response": Trigger.RESPONSE_CREATED,
    "timer response_end": Trigger.RESPONSE_OVER,
    "timer retry_due": _UP,
    "timer session_move_due": _UP,
    "timer silence": frozenset({State.LISTENING}),
    "timer speech": _NOWHERE,
    "timer tool": _UP,
    "timer tool_wait_due": _UP,
    "timer transfer": _UP,
    **{f"step {step}": _ALIVE for step in _TO_CALLER},
}
"""Of what comes, in which states it can: those whose row knows its trigger, or these."""
_FAULTS = frozenset(
    f"fault {name} at {place}" for name, kind in FAULTS.items() for place in kind.places
)


def pairs(call: VirtualCall) -> frozenset[str]:
    """What came together in a call, in words: `event … in STATE`, `step … in STATE`, `… at …`."""
    found: set[str] = set()
    state = State.CALL_RECEIVED.value
    times, states = [0], [state]
    for step in call.trace:
        what = _came(step.given)
        if what is not None:
            found.add(f"event {what} in {state}")
        for effect in step.effects:
            if isinstance(effect, EmitMark) and effect.name == "state_changed":
                state = str(effect.fields["to"])
                times.append(step.at_ns)
                states.append(state)
    for mark in call.caller_marks:
        if mark.name == "step_started" and mark.fields["kind"] in _TO_CALLER:
            met = states[bisect_right(times, mark.at_ns) - 1]
            found.add(f"step {mark.fields['kind']} in {met}")
    for mark in call.realtime_marks:
        if mark.name == "fault_applied":
            found.add(f"fault {mark.fields['fault']} at {str(mark.fields['at']).split()[0]}")
    return frozenset(pair for pair in found if not pair.endswith(f" in {State.ENDED}"))


def possible_pairs() -> frozenset[str]:
    """Every pair that can be, as the table of states has it, where nobody breaks a protocol."""
    return frozenset(_in_states(lambda _, comes, state: _can_be(comes, state))) | _FAULTS


def broken_pairs() -> frozenset[str]:
    """Those besides that come where events are lost, doubled or out of order."""
    return frozenset(_in_states(_breaks))


def _in_states(holds: Callable[[str, Trigger | frozenset[State], State], bool]) -> Iterator[str]:
    for what, comes in _COMES.items():
        kind = "" if what.startswith("step ") else "event "
        yield from (f"{kind}{what} in {state}" for state in State if holds(what, comes, state))


def _can_be(comes: Trigger | frozenset[State], state: State) -> bool:
    return comes in TRANSITIONS[state] if isinstance(comes, Trigger) else state in comes


def _breaks(what: str, comes: Trigger | frozenset[State], state: State) -> bool:
    is_of_protocol = isinstance(comes, Trigger) or "." in what  # an event of the server's
    return is_of_protocol and state in _ANSWERED and not _can_be(comes, state)


def _came(given: object) -> str | None:
    """What an input is called here; None for those of every frame."""
    if isinstance(given, RealtimeEvent):
        kind = str(given.event.get("type"))
        return kind if kind in _COMES else None
    if isinstance(given, TimerFired):
        return f"timer {given.timer}"
    name = type(given).__name__
    return name if name in _COMES else None


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
