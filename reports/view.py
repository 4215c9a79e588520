"""What `call.html` shows: a call's evidence as lanes on one axis of time. No HTML here."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.timeline import Mark
from reports.drawing import EmbeddedAudio, embedded_audio, waveform
from reports.evidence import EAR, MOUTH, CallEvidence
from reports.metrics import first_speech
from reports.results import CallResult
from reports.scene import NS_PER_MS, Sound
from reports.turns import Turn

_COUNTED = {"audio_appended", "audio_received"}
"""Marks that come fifty times a second: a page says how many there were, and draws none."""

_SIP = {
    ("caller", "call_dialed"): "INVITE →",
    ("caller", "call_progressed"): "← {status}",
    ("caller", "call_answered"): "← {status} OK",
    ("agent", "answered"): "ACK →",
    ("caller", "media_ready"): "RTP {codec}",
    ("agent", "media_held"): "hold",
    ("agent", "media_resumed"): "resume",
    ("agent", "transfer_sent"): "← REFER",
    ("caller", "transfer_heard"): "REFER heard",
    ("caller", "dtmf_sent"): "DTMF {digits} →",
    ("agent", "dtmf_sent"): "← DTMF {digit}",
    ("caller", "hang_up_sent"): "BYE →",
    ("agent", "hang_up_sent"): "← BYE",
}
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
            "tool_called",
            "tool_finished",
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
_TICK_CHOICES_MS = (100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000)
_MOST_TICKS = 20


@dataclass(frozen=True, slots=True)
class Event:
    """An instant on the axis: `left` in percent of it, `index` into the page's list of marks."""

    left: float
    label: str
    index: int
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch on the axis, in percent of it."""

    left: float
    width: float
    label: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A row of events or stretches."""

    title: str
    events: list[Event] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wave:
    """A channel's waveform, and what is heard in it."""

    title: str
    path: str
    columns: int
    left: float
    width: float
    sounds: list[Span]
    notes: list[Span]
    """What stands written in it, at its instant."""


@dataclass(frozen=True, slots=True)
class TurnView:
    """A turn's hops, drawn to the turn's own scale and on the axis."""

    turn: Turn
    spans: list[Span]
    axis: list[Span]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the transcript."""

    who: str
    at_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class CallView:
    """Everything on the page of a call."""

    length_ms: float
    recording_offset_ms: float
    ticks: list[Span]
    waves: list[Wave]
    lanes: list[Lane]
    troubles: list[Event]
    turns: list[TurnView]
    transcript: list[Line]
    marks: list[dict[str, Any]]
    counted: dict[str, int]
    audio: EmbeddedAudio | None


def view_of(call: CallResult) -> CallView:
    """The view of a call."""
    evidence = call.evidence
    axis = _Axis.of(evidence)
    shown = [mark for mark in evidence.marks if mark.name not in _COUNTED]
    numbered = list(enumerate(shown))
    return CallView(
        length_ms=axis.length_ms,
        recording_offset_ms=(evidence.recording_start_ns - axis.start_ns) / NS_PER_MS,
        ticks=axis.ticks(),
        waves=_waves(call, axis),
        lanes=list(_lanes(numbered, axis)),
        troubles=[
            Event(axis.left(mark.at_ns), _describe(mark), index, "trouble")
            for index, mark in numbered
            if mark.name in _TROUBLE
        ],
        turns=[_turn_view(turn, axis) for turn in call.measured.turns],
        transcript=_transcript(call, axis),
        marks=[_mark_json(mark, axis) for mark in shown],
        counted=_count(evidence.marks),
        audio=embedded_audio(evidence.recording, evidence.rate_hz) if evidence.recorded else None,
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """From instants to places: the call's first instant is 0, its last 100 percent."""

    start_ns: int
    end_ns: int

    @classmethod
    def of(cls, evidence: CallEvidence) -> "_Axis":
        instants = [mark.at_ns for mark in evidence.marks] or [0]
        if evidence.recorded:
            instants += [evidence.recording_start_ns, evidence.at_ns(len(evidence.recording))]
        return cls(min(instants), max(max(instants), min(instants) + NS_PER_MS))

    @property
    def length_ms(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_MS

    def ms(self, at_ns: int) -> float:
        return round((at_ns - self.start_ns) / NS_PER_MS, 3)

    def left(self, at_ns: int) -> float:
        return round(100 * (at_ns - self.start_ns) / (self.end_ns - self.start_ns), 4)

    def span(self, start_ns: int, end_ns: int, label: str, kind: str = "") -> Span:
        left = self.left(start_ns)
        return Span(left, round(max(0.0, self.left(end_ns) - left), 4), label, kind)

    def ticks(self) -> list[Span]:
        """Round instants to write on the axis, at most twenty of them."""
        step_ms = next(
            (ms for ms in _TICK_CHOICES_MS if self.length_ms / ms <= _MOST_TICKS),
            _TICK_CHOICES_MS[-1],
        )
        digits = 0 if step_ms % 1000 == 0 else 1
        count = int(self.length_ms / step_ms) + 1
        return [
            Span(
                round(100 * i * step_ms / self.length_ms, 4), 0, f"{i * step_ms / 1000:.{digits}f}"
            )
            for i in range(count)
        ]


def _waves(call: CallResult, axis: _Axis) -> list[Wave]:
    evidence = call.evidence
    if not evidence.recorded:
        return []
    scene = call.measured.scene
    place = axis.span(evidence.recording_start_ns, evidence.at_ns(len(evidence.recording)), "")
    said = [axis.span(u.start_ns, u.start_ns, f"turn {u.turn}") for u in scene.said]
    return [
        _wave("caller said", evidence, MOUTH, scene.mouth, axis, place, said),
        _wave("caller heard", evidence, EAR, scene.ear, axis, place, _heard_notes(call, axis)),
    ]


def _heard_notes(call: CallResult, axis: _Axis) -> list[Span]:
    """What is what at the ear: the beep, the greeting, and each answer with its latency."""
    scene = call.measured.scene
    notes = []
    if scene.beep is not None:
        label = f"beep {scene.beep.hz or 0:.0f} Hz"
        notes.append(axis.span(scene.beep.start_ns, scene.beep.start_ns, label))
    greeting = first_speech(scene)
    if greeting is not None:
        notes.append(axis.span(greeting.start_ns, greeting.start_ns, "greeting"))
    for turn in call.measured.turns:
        if turn.answer_ns is not None:
            label = f"answer {turn.number}: {turn.turn_ms:.0f} ms"
            notes.append(axis.span(turn.answer_ns, turn.answer_ns, label))
    return notes


def _wave(
    title: str,
    evidence: CallEvidence,
    channel: int,
    sounds: list[Sound],
    axis: _Axis,
    place: Span,
    notes: list[Span],
) -> Wave:
    path, columns = waveform(evidence.channel(channel), evidence.rate_hz)
    heard = [
        axis.span(s.start_ns, s.end_ns, f"{s.kind}, {s.length_ms:.0f} ms", s.kind) for s in sounds
    ]
    return Wave(title, path, columns, place.left, place.width, heard, notes)


def _lanes(numbered: list[tuple[int, Mark]], axis: _Axis) -> Iterator[Lane]:
    sip = [
        Event(axis.left(mark.at_ns), _sip_label(mark), index)
        for index, mark in numbered
        if (mark.source, mark.name) in _SIP
    ]
    yield Lane("SIP", events=sip)
    states = _states((mark for _, mark in numbered), axis)
    if states:
        yield Lane("Agent's state", spans=states)
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


def _states(marks: Iterable[Mark], axis: _Axis) -> list[Span]:
    changes = [mark for mark in marks if mark.source == "agent" and mark.name == "state_changed"]
    ends = [mark.at_ns for mark in changes] + [axis.end_ns]
    spans = []
    for mark, end_ns in zip(changes, ends[1:], strict=True):
        state = str(mark.fields.get("to", "?"))
        spans.append(axis.span(mark.at_ns, end_ns, state, state.lower()))
    return spans


def _turn_view(turn: Turn, axis: _Axis) -> TurnView:
    whole_ns = (turn.answer_ns or turn.end_ns) - turn.end_ns
    spans, on_axis = [], []
    for number, hop in enumerate(turn.hops):
        kind = f"hop{number % 6}"
        label = f"{hop.name}: {hop.length_ms:.1f} ms"
        if whole_ns > 0:
            left = 100 * (hop.start_ns - turn.end_ns) / whole_ns
            width = max(0.0, 100 * (hop.end_ns - hop.start_ns) / whole_ns)
            spans.append(Span(round(left, 3), round(width, 3), label, kind))
        on_axis.append(axis.span(hop.start_ns, hop.end_ns, label, kind))
    return TurnView(turn, spans, on_axis)


def _transcript(call: CallResult, axis: _Axis) -> list[Line]:
    lines = [
        Line("caller", axis.ms(said.start_ns), said.text)
        for said in call.measured.scene.said
        if said.text
    ]
    for mark in call.evidence.find("realtime", "response_planned"):
        text = str(mark.fields.get("text") or mark.fields.get("reply", ""))
        heard = next(
            (
                delta.at_ns
                for delta in call.evidence.find("agent", "first_delta")
                if delta.fields.get("response") == mark.fields.get("response")
            ),
            None,
        )
        if text and heard is not None:
            lines.append(Line("agent", axis.ms(heard), text))
    return sorted(lines, key=lambda line: line.at_ms)


def _sip_label(mark: Mark) -> str:
    try:
        return _SIP[mark.source, mark.name].format(**mark.fields)
    except KeyError:
        return mark.name


def _describe(mark: Mark) -> str:
    """A mark in a few words: its name, and the field that matters most."""
    if mark.name == "step_started":
        return str(mark.fields.get("text", "step"))
    for key in ("text", "what", "fault", "code", "reason", "status", "name", "hz", "audio_end_ms"):
        value = mark.fields.get(key)
        if value not in (None, ""):
            return f"{mark.name.replace('_', ' ')}: {value}"
    return mark.name.replace("_", " ")


def _mark_json(mark: Mark, axis: _Axis) -> dict[str, Any]:
    return {
        "ms": axis.ms(mark.at_ns),
        "source": mark.source,
        "name": mark.name,
        "fields": dict(mark.fields),
    }


def _count(marks: Iterable[Mark]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for mark in marks:
        if mark.name in _COUNTED:
            counts[mark.name] = counts.get(mark.name, 0) + 1
    return counts
