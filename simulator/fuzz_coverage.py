"""What a fuzzing run has reached: every move of the call machine, every fault, every rare branch.

A branch that no call ever took has not been tested by any of them, however many there were; the
summary of a run says which those are.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from agent.states import TRANSITIONS
from agent.timeline import Mark
from fakes.faults import BaseFault, Fault
from simulator.virtual_stage import VirtualCall

FAULT_MODELS: dict[str, type[BaseFault]] = {
    name: model
    for model in get_args(get_args(Fault)[0])
    for name in get_args(model.model_fields["fault"].annotation)
}
"""Every fault of the fake server, by the name that a script knows it by."""

_BY_FIELD = {
    "watchdog_fired": "what",
    "greeting_started": "origin",
    "greeting_ended": "interrupted",
    "response_done": "status",
    "prompt_started": "prompt",
    "call_ended": "by",
}
"""Marks whose branches differ by a field."""

_RARE_MARKS = (
    "capture_overflowed",
    "cancel_sent",
    "commit_sent",
    "dtmf_received",
    "event_dropped",
    "greeting_cached",
    "media_held",
    "media_resumed",
    "playout_cleared",
    "playout_overflowed",
    "playout_underrun",
    "realtime_closed",
    "realtime_error",
    "realtime_failed",
    "truncate_sent",
    "truncated",
    "greeting_started generated",
    "greeting_ended True",
    "greeting_ended False",
    "response_done completed",
    "response_done cancelled",
    "response_done failed",
    "watchdog_fired commit",
    "watchdog_fired connect",
    "watchdog_fired response",
    "watchdog_fired response_end",
    "watchdog_fired farewell",
    "watchdog_fired silence",
    "call_ended caller",
    "call_ended agent",
    "call_ended network",
)


UNREACHABLE: Mapping[str, str] = {
    "CALL_RECEIVED to ENDED": "a call is answered by the same input that tells of it; legal all the"
    " same, for any state may end",
}
"""Moves of the table that no call can make, and why."""


def reached(call: VirtualCall) -> frozenset[str]:
    """The points that a call reached, in words."""
    return frozenset(_points(call.agent_marks)) | frozenset(
        f"fault {mark.fields['fault']}"
        for mark in call.realtime_marks
        if mark.name == "fault_applied"
    )


def expected() -> frozenset[str]:
    """Every point that there is to reach."""
    moves = {
        f"{source} to {target}"
        for source, row in TRANSITIONS.items()
        for target in row.values()
        if source is not target
    }
    faults = {f"fault {name}" for name in FAULT_MODELS}
    return frozenset((moves - set(UNREACHABLE)) | set(_RARE_MARKS) | faults)


def _points(marks: Iterable[Mark]) -> Iterable[str]:
    for mark in marks:
        if mark.name == "state_changed":
            yield f"{mark.fields['from']} to {mark.fields['to']}"
        elif mark.name in _BY_FIELD:
            yield f"{mark.name} {mark.fields[_BY_FIELD[mark.name]]}"
        else:
            yield mark.name
