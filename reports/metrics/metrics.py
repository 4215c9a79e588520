"""The numbers: from the evidence of a call to what docs/metrics.md defines. Pure functions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics import measurement
from callerside.reports.metrics.answers import Answer, answers_of, faults_in
from callerside.reports.metrics.audible import (
    NS_PER_MS,
    AudibleSegments,
    Sound,
    listen,
    longest_silence_ms,
    overlap_ms,
    spoken,
)
from callerside.reports.metrics.barge_in import interruptions
from callerside.reports.metrics.machine_stalls import stall_intervals
from callerside.reports.metrics.measurement import Measurement
from callerside.reports.metrics.turns import Turn, turns_of

_FRAME_NS = 20 * NS_PER_MS


@dataclass(frozen=True)
class Measured:
    """Everything that a call's evidence says."""

    audible: AudibleSegments
    turns: list[Turn]
    answers: list[Answer]
    measurements: list[Measurement]


def measure(evidence: CallEvidence) -> Measured:
    """Every number that the evidence of a call supports; what it does not show is left out."""
    audible = listen(evidence)
    turns = turns_of(evidence, audible)
    answers = answers_of(evidence, audible)
    found = [
        *_setup(evidence),
        *_beep(evidence, audible),
        *_greeting(evidence, audible),
        *_turns(turns),
        *interruptions(evidence, audible, turns, answers),
        *faults_in(answers, turns),
        *_flow(evidence, audible),
        *_transport(evidence),
    ]
    return Measured(audible, turns, answers, found)


def _setup(evidence: CallEvidence) -> Iterator[Measurement]:
    spans: tuple[tuple[str, Source, str, str, float | None], ...] = (
        ("answer_ms", "caller", "call_dialed", "call_answered", None),
        (
            "connect_ms",
            "agent",
            "call_received",
            "realtime_connected",
            evidence.info.connect_delay_ms,
        ),
        ("media_ready_ms", "agent", "call_received", "media_ready", None),
    )
    for name, source, first, last, own_ms in spans:
        start = evidence.first(source, first)
        end = evidence.first(source, last, after_ns=start.at_ns) if start else None
        if start and end:
            yield Measurement(name=name, value=_ms(end.at_ns - start.at_ns), own_ms=own_ms)
    yield from _ready(evidence)


def _ready(evidence: CallEvidence) -> Iterator[Measurement]:
    received = evidence.first("agent", "call_received")
    greeted = evidence.first("agent", "greeting_ended")
    if not received or not greeted:
        return
    for mark in evidence.find("agent", "state_changed", after_ns=greeted.at_ns):
        if mark.fields.get("to") == "LISTENING":
            yield Measurement(name="ready_ms", value=_ms(mark.at_ns - received.at_ns))
            return


def _beep(evidence: CallEvidence, audible: AudibleSegments) -> Iterator[Measurement]:
    beep = audible.beep
    if beep is None:
        return
    answered = _answered(evidence)
    if answered:
        yield Measurement(name="beep_ms", value=_ms(beep.start_ns - answered.at_ns))
    if beep.hz is not None:
        yield Measurement(name="beep_hz", value=beep.hz, unit="Hz")
    if beep.end_ns < _call_end_ns(evidence) - _FRAME_NS:  # else it may have been cut
        yield Measurement(name="beep_length_ms", value=beep.length_ms)


def _greeting(evidence: CallEvidence, audible: AudibleSegments) -> Iterator[Measurement]:
    answered = _answered(evidence)
    sound = greeting_heard(evidence, audible)
    if not answered or sound is None:
        return
    started = evidence.first("agent", "greeting_started")
    if started is None and evidence.first("agent", "call_received"):
        return  # the agent's marks say that what is heard first was no greeting
    origin = str(started.fields.get("origin", "")) if started else ""
    yield Measurement(
        name="greeting_ms",
        value=_ms(sound.start_ns - answered.at_ns),
        variant={"cache": "cached", "generated": "generated"}.get(origin),
    )


def greeting_heard(evidence: CallEvidence, audible: AudibleSegments) -> Sound | None:
    """The first speech at the ear before the caller has said anything.

    Where the agent has marked when its greeting began, not before: a beep that a bad network has
    cut to pieces can sound like speech.
    """
    started = evidence.first("agent", "greeting_started")
    earliest_ns = started.at_ns - _FRAME_NS if started else 0
    sounds = (s for s in audible.ear if s.kind == "speech" and s.start_ns >= earliest_ns)
    first = next(sounds, None)
    if first is None or (audible.said and audible.said[0].start_ns <= first.start_ns):
        return None
    return first


def _turns(turns: list[Turn]) -> Iterator[Measurement]:
    for turn in turns:
        if turn.turn_ms is None or turn.answer_ns is None:
            continue
        own_ms = turn.own_ms
        yield Measurement(name="turn_ms", value=turn.turn_ms, turn=turn.number, own_ms=own_ms)
        if own_ms is not None:
            yield Measurement(
                name="agent_overhead_ms",
                value=turn.turn_ms - own_ms,
                turn=turn.number,
                detail=turn.detail,
            )
        yield from _links(turn, turn.answer_ns)


def _links(turn: Turn, answer_ns: int) -> Iterator[Measurement]:
    appended = turn.instants.get("appended")
    uplink_end = appended or turn.instants.get("received")
    if uplink_end is not None:
        yield Measurement(
            name="uplink_ms",
            value=_ms(uplink_end - turn.end_ns),
            turn=turn.number,
            detail="" if appended else "up to the server's receipt: the agent traced no appends",
        )
    delta_ns = turn.instants.get("delta_received")
    if delta_ns is not None:
        yield Measurement(
            name="downlink_ms",
            value=_ms(answer_ns - delta_ns) - turn.lead_ms,
            turn=turn.number,
        )


def _flow(evidence: CallEvidence, audible: AudibleSegments) -> Iterator[Measurement]:
    answered = _answered(evidence)
    if not evidence.recorded or not answered:
        return
    end_ns = _call_end_ns(evidence)
    both = [*audible.mouth, *audible.ear]
    yield Measurement(name="dead_air_ms", value=longest_silence_ms(both, answered.at_ns, end_ns))
    yield Measurement(
        name="talk_over_ms", value=overlap_ms(spoken(audible.mouth), spoken(audible.ear))
    )


def _transport(evidence: CallEvidence) -> Iterator[Measurement]:
    appends = [m.at_ns for m in evidence.find("agent", "audio_appended")]
    where = "as sent"
    if not appends:
        appends = [m.at_ns for m in evidence.find("realtime", "audio_received")]
        where = "as received: the agent traced no appends"
    if len(appends) > 1:
        intervals = [_ms(b - a) for a, b in pairwise(appends)]
        yield Measurement(
            name="append_interval_ms",
            value=measurement.percentile(intervals, 95),
            detail=f"p95 of {len(intervals)}, {where}",
        )
    rtp = evidence.last("agent", "rtp_measured")
    if rtp:
        yield Measurement(name="rtp_lost", value=float(rtp.fields["lost_packets"]), unit="packets")
        yield Measurement(name="rtp_jitter_ms", value=float(rtp.fields["jitter_ms"]))
    yield from _disturbed(evidence)


def _disturbed(evidence: CallEvidence) -> Iterator[Measurement]:
    """How late the harness was at worst: by its own doing, or because the machine stood still."""
    lag = evidence.last("caller", "scheduling_lag")
    if lag is None:
        return
    stood = stall_intervals(evidence.marks)
    all_ms = sum(one.length_ms for one in stood)
    times = "once" if len(stood) == 1 else f"{len(stood)} times"
    yield Measurement(
        name="harness_lag_ms",
        value=max([float(lag.fields["worst_ms"]), *(one.worst_ms for one in stood)]),
        detail=f"the machine stood still {times}, {all_ms:.0f} ms in all" if stood else "",
    )


def _answered(evidence: CallEvidence) -> Mark | None:
    return evidence.first("caller", "call_answered") or evidence.first("agent", "answered")


def _call_end_ns(evidence: CallEvidence) -> int:
    """The first sign that the call ends, or the recording's end."""
    recorded = evidence.at_ns(len(evidence.recording))
    signs = [
        mark.at_ns
        for mark in evidence.marks
        if mark.name in {"hang_up_sent", "call_ended"} and mark.source != "realtime"
    ]
    return min([recorded, *signs])


def _ms(length_ns: int) -> float:
    return length_ns / NS_PER_MS
