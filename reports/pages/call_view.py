"""What `call.html` shows: a call's evidence as lanes on one axis of time. No HTML here."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from callerside.marks import Mark
from callerside.reports.evidence import EAR, MOUTH, CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS, Sound
from callerside.reports.metrics.edges import Edge, edges_of
from callerside.reports.metrics.machine_time import MachineTime
from callerside.reports.metrics.measures import greeting_heard
from callerside.reports.pages.axis import Axis, Event, Span
from callerside.reports.pages.budget_bars import Deadline, deadlines_of, rows
from callerside.reports.pages.event_lanes import Lane, lanes_of, states_of, troubles_of
from callerside.reports.pages.sip_ladder import Ladder, ladder_of
from callerside.reports.pages.turn_waterfall import TurnView, turn_view
from callerside.reports.pages.waveform import EmbeddedAudio, embedded_audio, waveform
from callerside.reports.sound.facts import Party, parties
from callerside.reports.sound.moments import moments
from callerside.reports.verdict.call_result import CallResult

_MOST_MOMENTS = 100
_MOST_EDGES = 500  # of an hour's call there are thousands, and a page has room for its waveform

_COUNTED = {"audio_appended", "audio_received"}
"""Marks that come fifty times a second: a page says how many there were, and draws none."""


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
    holes: list[Span] = field(default_factory=list)
    """Silence that was not in what was sent."""


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A beginning or an end that can be heard: its place on the axis, and what to show of it."""

    left: float
    label: str
    index: int
    channel: int
    kind: str
    """`both` where it is known and detected, else `known` or `detected`."""
    known_ms: float | None
    detected_ms: float | None
    difference_ms: float | None


@dataclass(frozen=True, slots=True)
class MomentView:
    """Something that a listener would want to hear."""

    kind: str
    at_ms: float
    length_ms: float
    detail: str


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
    edges: list[EdgeView]
    """The first of them, of a long call."""
    edges_in_all: int
    deadlines: list[Deadline]
    deadline_rows: int
    ladder: Ladder
    states: list[Span]
    lanes: list[Lane]
    troubles: list[Event]
    turns: list[TurnView]
    transcript: list[Line]
    marks: list[dict[str, Any]]
    counted: dict[str, int]
    audio: EmbeddedAudio | None
    parties: list[Party]
    """Of a bare recording: what each channel's sound is like."""
    moments: list[MomentView]

    @property
    def edge_data(self) -> list[dict[str, Any]]:
        """The edges for the page's script."""
        return [asdict(edge) for edge in self.edges]


def view_of(call: CallResult) -> CallView:
    """The view of a call."""
    evidence = call.evidence
    axis = Axis.of(evidence)
    machine = MachineTime(evidence.marks)
    shown = [mark for mark in evidence.marks if mark.name not in _COUNTED]
    numbered = list(enumerate(shown))
    deadlines = deadlines_of(call, axis)
    edges = edges_of(evidence, call.measured.audible)
    return CallView(
        length_ms=axis.length_ms,
        recording_offset_ms=(evidence.recording_start_ns - axis.start_ns) / NS_PER_MS,
        ticks=axis.ticks(),
        waves=_waves(call, axis),
        edges_in_all=len(edges),
        edges=[_edge_view(number, edge, axis) for number, edge in enumerate(edges[:_MOST_EDGES])],
        deadlines=deadlines,
        deadline_rows=rows(deadlines),
        ladder=ladder_of(evidence, numbered, axis),
        states=states_of(shown, axis),
        lanes=list(lanes_of(numbered, axis)),
        troubles=troubles_of(numbered, axis),
        turns=[turn_view(turn, axis, machine) for turn in call.measured.turns],
        transcript=_transcript(call, axis),
        marks=[_mark_json(mark, axis) for mark in shown],
        counted=_count(evidence.marks),
        audio=embedded_audio(evidence.recording, evidence.rate_hz) if evidence.recorded else None,
        parties=parties(call) if evidence.info.recording else [],
        moments=[
            MomentView(one.kind, axis.ms(one.start_ns), one.length_ms, one.detail)
            for one in (moments(call)[:_MOST_MOMENTS] if evidence.info.recording else ())
        ],
    )


def _waves(call: CallResult, axis: Axis) -> list[Wave]:
    evidence = call.evidence
    if not evidence.recorded:
        return []
    audible = call.measured.audible
    place = axis.span(evidence.recording_start_ns, evidence.at_ns(len(evidence.recording)), "")
    said = [axis.span(u.start_ns, u.start_ns, f"turn {u.turn}") for u in audible.said]
    return [
        _wave("caller said", evidence, MOUTH, audible.mouth, axis, place, said),
        replace(
            _wave(
                "caller heard", evidence, EAR, audible.ear, axis, place, _heard_notes(call, axis)
            ),
            holes=_holes(call, axis),
        ),
    ]


def _edge_view(number: int, edge: Edge, axis: Axis) -> EdgeView:
    where = "mouth" if edge.channel == MOUTH else "ear"
    of = "" if edge.of == "speech" else f" of the {edge.of}"
    known_ms = None if edge.known_ns is None else axis.ms(edge.known_ns)
    detected_ms = None if edge.detected_ns is None else axis.ms(edge.detected_ns)
    return EdgeView(
        left=axis.left(edge.at_ns),
        label=f"{edge.kind}{of} at the {where}",
        index=number,
        channel=edge.channel,
        kind="both"
        if edge.difference_ms is not None
        else "known"
        if detected_ms is None
        else "detected",
        known_ms=known_ms,
        detected_ms=detected_ms,
        difference_ms=edge.difference_ms,
    )


def _holes(call: CallResult, axis: Axis) -> list[Span]:
    """Where an answer was silent as heard, and not as sent."""
    return [
        axis.span(start_ns, end_ns, f"a hole of {(end_ns - start_ns) / NS_PER_MS:.0f} ms")
        for answer in call.measured.answers
        for start_ns, end_ns in answer.holes_ns()
    ]


def _heard_notes(call: CallResult, axis: Axis) -> list[Span]:
    """What is what at the ear: the beep, the greeting, and each answer with its latency."""
    audible = call.measured.audible
    notes = []
    if audible.beep is not None:
        label = "beep"  # as short as the sound; its pitch is in the budget below
        notes.append(axis.span(audible.beep.start_ns, audible.beep.start_ns, label))
    greeting = greeting_heard(call.evidence, audible)
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
    axis: Axis,
    place: Span,
    notes: list[Span],
) -> Wave:
    path, columns = waveform(evidence.channel(channel), evidence.rate_hz)
    heard = [
        axis.span(s.start_ns, s.end_ns, f"{s.kind}, {s.length_ms:.0f} ms", s.kind) for s in sounds
    ]
    return Wave(title, path, columns, place.left, place.width, heard, notes)


def _transcript(call: CallResult, axis: Axis) -> list[Line]:
    lines = [
        Line("caller", axis.ms(said.start_ns), said.text)
        for said in call.measured.audible.said
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


def _mark_json(mark: Mark, axis: Axis) -> dict[str, Any]:
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
