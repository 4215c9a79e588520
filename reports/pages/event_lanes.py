"""The lanes of events on the page of a call: who said what, the agent's states, and what struck."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from callerside.marks import Mark
from callerside.reports.metrics.machine_stalls import DISTORTS_MS, stall_intervals
from callerside.reports.pages.axis import Axis, Event, Span

_TROUBLE = {
    "impairment_applied",
    "fault_applied",
    "realtime_failed",
    "realtime_error",
    "error_sent",
    "capture_overflowed",
    "playout_overflowed",
    "playout_underrun",
    "event_dropped",
    "watchdog_fired",
    "greeting_damaged",
    "departed",
}
_LANES = (
    ("Caller", "caller", {"step_started", "beep_heard", "speech_heard", "silence_heard"}),
    (
        "Agent",
        "agent",
        {
            "beep_started",
            "greeting_requested",
            "greeting_started",
            "greeting_ended",
            "commit_sent",
            "response_requested",
            "first_delta",
            "playout_started",
            "playout_ended",
            "playout_cleared",
            "truncate_sent",
            "cancel_sent",
            "response_incomplete",
            "response_silent",
            "answer_repaired",
        },
    ),
    (
        "Functions",
        "agent",
        {
            "tool_called",
            "tool_finished",
            "tool_cancelled",
            "tools_withheld",
            "prompt_started",
            "prompt_ended",
        },
    ),
    (
        "Realtime",
        "realtime",
        {
            "session_opened",
            "session_updated",
            "speech_started",
            "speech_stopped",
            "committed",
            "response_created",
            "delta_sent",
            "response_done",
            "truncated",
            "function_called",
            "session_closed",
        },
    ),
)
_SHOWN = {
    "text": "",
    "what": "",
    "fault": "",
    "code": "",
    "reason": "",
    "status": "",
    "name": "",
    "hz": "Hz",
    "audio_end_ms": "ms",
    "late_ms": "ms",
}
"""Fields that say the most of a mark, the first that it has, with their units."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of events."""

    title: str
    events: list[Event] = field(default_factory=list)


def lanes_of(numbered: Sequence[tuple[int, Mark]], axis: Axis) -> Iterator[Lane]:
    """What caller, agent and server report; `numbered` are the page's marks with their places."""
    for title, source, names in _LANES:
        events = [
            Event(
                axis.left(mark.at_ns),
                _describe(mark),
                index,
                "minor" if mark.name == "delta_sent" else "",
            )
            for index, mark in numbered
            if mark.source == source and mark.name in names
        ]
        if events:
            yield Lane(title, events=events)


def troubles_of(numbered: Sequence[tuple[int, Mark]], axis: Axis) -> list[Event]:
    """What went wrong, or was made to, where it struck; of the machine what can distort a call."""
    stood = stall_intervals(mark for _, mark in numbered)
    bending = {id(one.worst) for one in stood if one.worst_ms >= DISTORTS_MS}
    return [
        Event(axis.left(mark.at_ns), _describe(mark), index, _kind_of_trouble(mark))
        for index, mark in numbered
        if mark.name in _TROUBLE or id(mark) in bending
    ]


def states_of(marks: Iterable[Mark], axis: Axis) -> list[Span]:
    """The agent's states, each until the next."""
    changes = [mark for mark in marks if mark.source == "agent" and mark.name == "state_changed"]
    ends = [mark.at_ns for mark in changes] + [axis.end_ns]
    spans = []
    for mark, end_ns in zip(changes, ends[1:], strict=True):
        state = str(mark.fields.get("to", "?"))
        spans.append(axis.span(mark.at_ns, end_ns, state, state.lower()))
    return spans


def _kind_of_trouble(mark: Mark) -> str:
    """What strikes often is drawn small."""
    often = mark.name in ("impairment_applied", "machine_stalled")
    return "trouble minor" if often else "trouble"


def _describe(mark: Mark) -> str:
    """A mark in a few words: its name, and the field that matters most."""
    if mark.name == "step_started":
        return str(mark.fields.get("text", "step"))
    name = mark.name.replace("_", " ")
    for key, unit in _SHOWN.items():
        value = mark.fields.get(key)
        if value not in (None, ""):
            return f"{name}: {value:.0f} {unit}" if unit else f"{name}: {value}"
    return name
