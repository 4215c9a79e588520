"""How most numbers are measured in a call that was heard; docs/metrics.md explains each.

Each function yields the measurements of the metrics that name it in the registry. Pure functions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics import measurement
from callerside.reports.metrics.answers import Answer
from callerside.reports.metrics.audible import (
    NS_PER_MS,
    AudibleSegments,
    Sound,
    longest_silence,
    overlaps,
    spoken,
)
from callerside.reports.metrics.drowned import drowned
from callerside.reports.metrics.error_bounds import EXACT, NOTED, TONE_HZ
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.machine_paths import (
    ANSWERED,
    CONNECTED,
    GREETED,
    MEDIA,
    part_of,
    passed,
)
from callerside.reports.metrics.machine_stalls import stall_intervals
from callerside.reports.metrics.machine_time import AGENT, SERVER, MachineTime, Part
from callerside.reports.metrics.measurement import (
    NOTHING_TAKEN,
    ErrorBound,
    Measurement,
    Taken,
    Unmeasured,
)
from callerside.reports.metrics.server_way import NO_WAY, handshake, prepared_ms
from callerside.reports.metrics.turn_path import packet_wait_ms
from callerside.reports.metrics.turns import Turn

_FRAME_NS = 20 * NS_PER_MS
_RINGING = 180
_ON_ITS_WAY_NS = 300 * NS_PER_MS


def setup(call: HeardCall) -> Iterator[Measurement]:
    """From INVITE and 200 OK to a call that is ready, by marks alone."""
    evidence = call.evidence
    spans: tuple[tuple[str, Source, str, str, float | None, tuple[str, ...]], ...] = (
        ("answer_ms", "caller", "call_dialed", "call_answered", None, ANSWERED),
        (
            "connect_ms",
            "agent",
            "call_received",
            "realtime_connected",
            evidence.info.connect_delay_ms,
            CONNECTED,
        ),
        ("media_ready_ms", "agent", "call_received", "media_ready", None, MEDIA),
    )
    for name, source, first, last, own_ms, path in spans:
        start = evidence.first(source, first)
        end = evidence.first(source, last, after_ns=start.at_ns) if start else None
        if start and end:
            trip = NO_WAY
            if own_ms is not None:
                trip = handshake(evidence, end.at_ns)
                own_ms += _ms(trip.length_ns) + _prepared_ms(evidence, end.at_ns)
            yield Measurement(
                name=name,
                value=_ms(end.at_ns - start.at_ns),
                own_ms=own_ms,
                own_bound=trip.bound,
                bound=_noted(evidence) if source == "caller" else EXACT,
                span_ns=(start.at_ns, end.at_ns),
                taken=_taken(call, path, start.at_ns, end.at_ns),
            )
    yield from _ringing(call)
    yield from _ready(call)


def _prepared_ms(evidence: CallEvidence, connected_ns: int) -> float:
    """What the server took before it could open the session that was asked for."""
    opened = [m for m in evidence.find("realtime", "session_opened") if m.at_ns <= connected_ns]
    return prepared_ms(opened[-1]) if opened else 0.0


def _taken(call: HeardCall, path: tuple[str, ...], start_ns: int, end_ns: int) -> Taken:
    """What the machine took of a time that ends with the last mark of a path."""
    return call.machine.of_time(start_ns, passed(call.evidence, path, start_ns, end_ns))


def _ringing(call: HeardCall) -> Iterator[Measurement]:
    evidence = call.evidence
    dialed = evidence.first("caller", "call_dialed")
    for mark in evidence.find("caller", "call_progressed"):
        if dialed and mark.fields.get("status") == _RINGING:
            received = passed(evidence, ("agent/call_received",), dialed.at_ns, mark.at_ns)
            yield Measurement(
                name="ringing_ms",
                value=_ms(mark.at_ns - dialed.at_ns),
                bound=_noted(evidence),
                span_ns=(dialed.at_ns, mark.at_ns),
                taken=call.machine.of_time(dialed.at_ns, [*received, part_of(mark)]),
            )
            return


def _ready(call: HeardCall) -> Iterator[Measurement]:
    evidence = call.evidence
    received = evidence.first("agent", "call_received")
    greeted = evidence.first("agent", "greeting_ended")
    if not received or not greeted:
        return
    for mark in evidence.find("agent", "state_changed", after_ns=greeted.at_ns):
        if mark.fields.get("to") == "LISTENING":
            way = passed(evidence, (*GREETED, "agent/greeting_ended"), received.at_ns, mark.at_ns)
            yield Measurement(
                name="ready_ms",
                value=_ms(mark.at_ns - received.at_ns),
                bound=EXACT,
                span_ns=(received.at_ns, mark.at_ns),
                taken=call.machine.of_time(received.at_ns, [*way, part_of(mark)]),
            )
            return


def _noted(evidence: CallEvidence) -> ErrorBound:
    """Of the instant at which a message came to the caller: in memory nothing takes any time."""
    return EXACT if evidence.info.lane == "virtual" else NOTED


def beep(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """When the connection beep came, and what it was like."""
    evidence, heard = call.evidence, call.audible.beep
    if heard is None:
        return
    answered = _answered(evidence)
    had_begun = evidence.sample_at(heard.start_ns) <= evidence.rate_hz // 1000
    begun = "it sounded already when the caller's recording began" if had_begun else ""
    if answered:
        value = _ms(heard.start_ns - answered.at_ns)
        detail = f"{begun}: it began no later" if begun else ""
        bound = heard.start_bound + _noted(evidence)
        if begun:
            bound = ErrorBound(max(value, bound.size), begun)
        yield Measurement(
            name="beep_ms",
            value=value,
            detail=detail,
            bound=bound,
            span_ns=(answered.at_ns, heard.start_ns),
            taken=_taken_of_sound(call, MEDIA, answered.at_ns, "beep_started", heard.start_ns),
        )
    if heard.hz is not None:
        yield Measurement(name="beep_hz", value=heard.hz, bound=TONE_HZ)
    if begun:
        yield Unmeasured(name="beep_length_ms", reason=begun)
    elif heard.end_ns < _call_end_ns(evidence) - _FRAME_NS:
        bound = heard.start_bound + heard.end_bound
        span_ns = heard.start_ns, heard.end_ns
        yield Measurement(
            name="beep_length_ms", value=heard.length_ms, bound=bound, span_ns=span_ns
        )
    else:
        yield Unmeasured(name="beep_length_ms", reason="the call's end may have cut it")


def greeting(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """When the greeting began."""
    evidence, audible = call.evidence, call.audible
    answered = _answered(evidence)
    if not answered:
        return
    started = evidence.first("agent", "greeting_started")
    if started is None and evidence.first("agent", "call_received"):
        yield Unmeasured(name="greeting_ms", reason="the agent's marks tell of no greeting")
        return
    origin = str(started.fields.get("origin", "")) if started else ""
    known = _greeting_sent(audible, call.answers)
    if known is not None:
        sound, how = known.sounds[0], "from what was sent"
    else:
        heard = greeting_heard(evidence, audible)
        if heard is None:
            reason = "no speech was heard that set in with it, before the caller had spoken"
            yield Unmeasured(name="greeting_ms", reason=reason)
            return
        sound, how = heard, "by the energy at the ear"
    yield Measurement(
        name="greeting_ms",
        value=_ms(sound.start_ns - answered.at_ns),
        variant={"cache": "cached", "generated": "generated"}.get(origin),
        detail=f"{origin}, {how}" if origin else how,
        bound=sound.start_bound + _noted(evidence),
        span_ns=(answered.at_ns, sound.start_ns),
        taken=_taken_of_sound(call, GREETED, answered.at_ns, "greeting_started", sound.start_ns),
    )


def _taken_of_sound(
    call: HeardCall, path: tuple[str, ...], start_ns: int, played: str, heard_ns: int
) -> Taken:
    """What the machine took of the time until the agent was heard with what it marks as played."""
    left = call.evidence.first("agent", played, after_ns=start_ns)
    left_ns = left.at_ns if left is not None else None
    ready = [*passed(call.evidence, path, start_ns, heard_ns if left_ns is None else left_ns)]
    return call.machine.of_sound(start_ns, ready, heard_ns, left_ns)


def _greeting_sent(audible: AudibleSegments, answers: Sequence[Answer]) -> Answer | None:
    """The greeting, where the server sent it: the first answer, before the caller has spoken."""
    first = next((answer for answer in answers if answer.found), None)
    if first is None or (audible.said and audible.said[0].start_ns <= first.start_ns):
        return None
    return first


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


_OF_A_TURN = ("turn_ms", "agent_overhead_ms", "downlink_ms")


def turn_times(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """How long each turn took, and whose time that was."""
    for turn in call.turns:
        if turn.turn_ms is None or turn.answer_ns is None:
            for name in _OF_A_TURN:
                yield Unmeasured(name=name, turn=turn.number, reason=turn.source)
            continue
        own_ms, taken = turn.own_ms, call.machine.of_way(turn.hops)
        packet_ms = packet_wait_ms(turn.hops)
        yield Measurement(
            name="turn_ms",
            value=turn.turn_ms,
            turn=turn.number,
            own_ms=own_ms,
            detail=f"the answer {turn.source}" if turn.source else "",
            bound=turn.end_bound + turn.answer_bound,
            own_bound=turn.own_bound,
            span_ns=(turn.end_ns, turn.answer_ns),
            taken=taken,
            packet_ms=packet_ms,
        )
        if own_ms is None:
            reason = turn.detail or "the server's own delay is not known"
            yield Unmeasured(name="agent_overhead_ms", turn=turn.number, reason=reason)
        else:
            yield Measurement(
                name="agent_overhead_ms",
                value=turn.turn_ms - own_ms,
                turn=turn.number,
                detail=turn.detail,
                bound=turn.end_bound + turn.answer_bound + turn.own_bound,
                span_ns=(turn.end_ns, turn.answer_ns),
                taken=taken,
                packet_ms=packet_ms,
            )
        yield from _links(turn, turn.answer_ns, call.machine)


def _links(turn: Turn, answer_ns: int, machine: MachineTime) -> Iterator[Measurement]:
    appended = turn.instants.get("appended")
    uplink_end = appended or turn.instants.get("received")
    if uplink_end is not None:
        way = NO_WAY if appended else turn.way_there
        yield Measurement(
            name="uplink_ms",
            value=_ms(uplink_end - way.length_ns - turn.left_ns),
            turn=turn.number,
            detail="" if appended else "up to the server's receipt: the agent traced no appends",
            bound=turn.end_bound + turn.own_bound,
            span_ns=(turn.end_ns, uplink_end),
            taken=sum(
                (machine.of_hop(hop) for hop in turn.hops if hop.end_ns <= uplink_end),
                start=NOTHING_TAKEN,
            ),
        )
    delta_ns = turn.instants.get("delta_received")
    if delta_ns is not None:
        yield Measurement(
            name="downlink_ms",
            value=_ms(answer_ns - delta_ns) - turn.lead_ms,
            turn=turn.number,
            bound=turn.answer_bound,
            span_ns=(delta_ns, answer_ns),
            taken=machine.of_way([hop for hop in turn.hops if hop.start_ns >= delta_ns]),
            packet_ms=packet_wait_ms(turn.hops),
        )


def flow(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """Silence, and double talk."""
    evidence, audible = call.evidence, call.audible
    answered = _answered(evidence)
    if not evidence.recorded or not (answered or evidence.info.lane == "recording"):
        return
    if reason := drowned(evidence, audible):
        for name in ("dead_air_ms", "talk_over_ms", "double_talk_share"):
            yield Unmeasured(name=name, reason=reason)
        return
    start_ns = answered.at_ns if answered else evidence.recording_start_ns
    end_ns = _call_end_ns(evidence)
    both = [*audible.mouth, *audible.ear]
    silence = longest_silence(both, start_ns, end_ns)
    yield Measurement(
        name="dead_air_ms",
        value=_ms(silence.length_ns),
        bound=silence.bound,
        span_ns=silence.span_ns,
        taken=call.machine.of_spans([silence.span_ns]),
    )
    caller, agent = spoken(audible.mouth), spoken(_talk(evidence, audible))
    spans, bound = overlaps(caller, agent)
    both_ms = sum(_ms(end_ns - start_ns) for start_ns, end_ns in spans)
    yield Measurement(
        name="talk_over_ms", value=both_ms, bound=bound, taken=call.machine.of_spans(spans)
    )
    talked_ms = sum(sound.length_ms for sound in (*caller, *agent)) - both_ms
    if talked_ms > 0:
        share = 100 / talked_ms
        bound = replace(bound, size=min(100.0, share * bound.size))
        yield Measurement(name="double_talk_share", value=share * both_ms, bound=bound)


def _talk(evidence: CallEvidence, audible: AudibleSegments) -> list[Sound]:
    """What the agent says, of all that is heard.

    Where its answers are known from what was sent, other sound is its talk only while it plays
    something of its own by its marks: a stored greeting, a prompt. Music or noise talks to nobody.
    """
    if not any(sound.source == "sent" for sound in audible.ear):
        return audible.ear
    playing = [*_own_prompts(evidence)]
    return [
        sound
        for sound in audible.ear
        if sound.source == "sent"
        or any(start_ns < sound.end_ns and end_ns > sound.start_ns for start_ns, end_ns in playing)
    ]


def _own_prompts(evidence: CallEvidence) -> Iterator[tuple[int, int]]:
    """When the agent played what the server did not send in this call."""
    for kind in ("greeting", "prompt"):
        for mark in evidence.find("agent", f"{kind}_started"):
            if mark.fields.get("origin") == "generated":
                continue
            ended = evidence.first("agent", f"{kind}_ended", after_ns=mark.at_ns)
            end_ns = ended.at_ns if ended else evidence.marks[-1].at_ns
            yield mark.at_ns - _FRAME_NS, end_ns + _ON_ITS_WAY_NS


def transport(call: HeardCall) -> Iterator[Measurement]:
    """How evenly the caller's audio went on, and what RTP lost of it."""
    evidence = call.evidence
    appends = [m.at_ns for m in evidence.find("agent", "audio_appended")]
    traced, where = bool(appends), "as sent"
    if not appends:
        appends = [m.at_ns for m in evidence.find("realtime", "audio_received")]
        where = "as received: the agent traced no appends"
    if len(appends) > 1:
        intervals = [_ms(b - a) for a, b in pairwise(appends)]
        value = measurement.percentile(intervals, 95)
        yield Measurement(
            name="append_interval_ms",
            value=value,
            detail=f"p95 of {len(intervals)}, {where}",
            bound=EXACT,
            taken=_taken_of_p95(call, appends, value, AGENT if traced else SERVER),
        )
    rtp = evidence.last("agent", "rtp_measured")
    if rtp:
        lost, jitter_ms = float(rtp.fields["lost_packets"]), float(rtp.fields["jitter_ms"])
        yield Measurement(name="rtp_lost", value=lost, bound=EXACT)
        yield Measurement(name="rtp_jitter_ms", value=jitter_ms, bound=EXACT)
    late = evidence.last("caller", "packets_buffered")
    if late:
        yield Measurement(
            name="ear_late_ms",
            value=float(late.fields["worst_ms"]),
            detail=f"{late.fields['packets']} packets were late by a millisecond at least",
            bound=EXACT,
        )


def _taken_of_p95(call: HeardCall, at_ns: Sequence[int], value: float, owner: str) -> Taken:
    """What the machine took of the 95th percentile of intervals that somebody's work ends."""
    taken = [call.machine.of_time(a, [Part(b, owner)]) for a, b in pairwise(at_ns)]
    if not any(taken):
        return NOTHING_TAKEN
    intervals = [_ms(b - a) for a, b in pairwise(at_ns)]
    without = (
        [length - getattr(one, how) for length, one in zip(intervals, taken, strict=True)]
        for how in ("least_ms", "most_ms")
    )
    return Taken(*(value - measurement.percentile(rest, 95) for rest in without))


def disturbed(call: HeardCall) -> Iterator[Measurement]:
    """How late the harness was at worst: by its own doing, or because the machine stood still."""
    evidence = call.evidence
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
        bound=EXACT,
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
