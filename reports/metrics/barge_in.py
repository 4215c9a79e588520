"""Barge-ins and cut answers: how fast the agent falls silent, and if it knows what was heard."""

from collections.abc import Iterator, Sequence

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.hearing.detector import PAUSE_MS
from callerside.reports.metrics.answers import Answer
from callerside.reports.metrics.audible import NS_PER_MS, AudibleSegments, Sound, Utterance
from callerside.reports.metrics.error_bounds import ENERGY_END, ENERGY_ONSET, EXACT
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.machine_paths import passed
from callerside.reports.metrics.measurement import ErrorBound, Measurement, Unmeasured
from callerside.reports.metrics.server_way import NO_WAY, Trip, way_of

_DETECTED_WITHIN_NS = 1000 * NS_PER_MS
"""A server that does not hear a caller within this time did not hear a barge-in."""
_SHORT_NS = 300 * NS_PER_MS
"""In a bare recording, which says of nothing what it was meant to stop: a "mhm", or a cough."""
_REASON_NS = 1500 * NS_PER_MS  # a server hears what it takes for a turn no later than that
_AFTERWARDS_NS = 100 * NS_PER_MS
_STOPS = ("realtime/speech_started", "agent/speech_started", "agent/playout_cleared")
"""What a barge-in passes until its answer is cut."""
_AT_THE_CUT_NS = 100 * NS_PER_MS
"""What the machine did earlier leaves nothing of an answer unheard at its cut."""
_REASONS: tuple[tuple[Source, str], ...] = (
    ("agent", "dtmf_received"),
    ("agent", "hang_up_sent"),
    ("agent", "call_ended"),
    ("agent", "realtime_failed"),
    ("caller", "hang_up_sent"),
    ("caller", "call_ended"),
)
"""Marks of what else ends an answer."""


def interruptions(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """How fast each barge-in silenced the agent, and what it knew of what had been heard."""
    for said in call.audible.said:
        stop, how = _stop(call, said)
        if stop is not None:
            stop_ns, bound = stop
            trip = _way(call.evidence, said, stop_ns)
            yield Measurement(
                name="barge_in_stop_ms",
                value=max(0.0, (stop_ns - said.start_ns) / NS_PER_MS),
                turn=said.turn,
                own_ms=trip.length_ns / NS_PER_MS,
                own_bound=trip.bound,
                detail=how,
                bound=said.start_bound + bound,
                span_ns=(said.start_ns, stop_ns),
                taken=call.machine.of_sound(
                    said.start_ns, [*passed(call.evidence, _STOPS, said.start_ns, stop_ns)], stop_ns
                ),
            )
        else:
            yield Unmeasured(name="barge_in_stop_ms", turn=said.turn, reason=how, moot=True)
    yield from _heard_errors(call.evidence, call.audible, call.answers)


def false_stops(call: HeardCall) -> Iterator[Measurement]:
    """How often the agent fell silent in mid-answer although nobody had taken the turn from it."""
    evidence = call.evidence
    if not evidence.recorded or not evidence.first("agent", "playout_started"):
        return  # nobody knows what the caller said
    stops = {
        str(mark.fields.get("item")): mark.at_ns
        for mark in evidence.find("agent", "playout_cleared", "truncate_sent")
        if mark.fields.get("item")
    }
    false = [at_ns for at_ns in stops.values() if not _had_reason(call, at_ns)]
    yield Measurement(
        name="false_stops",
        value=float(len(false)),
        detail=f"of {len(stops)}" if stops else "",
        bound=EXACT,
    )


def _had_reason(call: HeardCall, at_ns: int) -> bool:
    """Whether the caller spoke, or pressed a key, or the call or its connection was over."""
    since_ns = at_ns - _REASON_NS
    if any(said.start_ns <= at_ns and said.end_ns >= since_ns for said in call.audible.said):
        return True
    return any(
        since_ns <= mark.at_ns <= at_ns + _AFTERWARDS_NS
        for source, name in _REASONS
        for mark in call.evidence.find(source, name)
    )


def _stop(call: HeardCall, said: Utterance) -> tuple[tuple[int, ErrorBound] | None, str]:
    """When the agent that an utterance interrupted fell silent; None and why, if it did not.

    It interrupts if the agent is audible at its onset, or pauses in mid-answer, and the server
    hears speech: what the server ignores (a cough) is not meant to stop anything.
    """
    if not _detected(call.evidence, said):
        return None, "the server heard no speech within a second: nothing was to stop"
    if call.evidence.info.lane == "recording" and said.end_ns - said.start_ns < _SHORT_NS:
        return None, "so short a sound need not stop anything"
    if (why := _meant_to_go_on(call.evidence, said)) is not None:
        return None, why
    into = [one for one in call.answers if one.found and one.start_ns <= said.start_ns]
    if into and (last := max(into, key=lambda one: one.start_ns)).end_ns > said.start_ns:
        stopped = last.end_ns, last.end_bound
        counted = ", cut where the agent counts it" if last.cut_as_counted else ""
        return stopped, f"from what was sent (a correlation of {last.likeness:.2f}){counted}"
    sound = _last_sound(call.evidence, call.audible, said)
    if sound is None:
        return None, "the caller spoke into no answer"
    return (sound.end_ns, sound.end_bound), "by the energy at the ear"


def _way(evidence: CallEvidence, said: Utterance, stop_ns: int) -> Trip:
    """What the way took of a stop: there and back, where it was the server that heard the caller.

    The onset's append is known to no sample, so of the way there only its delay is. Where the
    answer paused as it was stopped, only what lies before that pause counts.
    """
    way = way_of(evidence)
    heard = evidence.first("realtime", "speech_started", after_ns=said.start_ns)
    if not way or heard is None:
        return NO_WAY
    for told in evidence.find("agent", "speech_started", after_ns=heard.at_ns):
        if told.fields.get("item") == heard.fields.get("item"):
            trip = way.trip(None, None) + way.trip(heard.at_ns, told.at_ns)
            paused_ns = max(0, told.at_ns - stop_ns)
            return Trip(max(0, trip.length_ns - paused_ns), trip.bound)
    return NO_WAY


def _meant_to_go_on(evidence: CallEvidence, said: Utterance) -> str | None:
    """Why nothing that an utterance interrupts was to stop; None if it was."""
    goes_on = evidence.info.goes_on
    begun = evidence.first("agent", "greeting_started")
    ended = evidence.first("agent", "greeting_ended")
    end_ns = ended.at_ns if ended else evidence.end_ns
    if begun is not None and begun.at_ns <= said.start_ns < end_ns:
        is_meant, what = "greeting" in goes_on, "greeting.interruptible: false"
    else:
        is_meant, what = "answers" in goes_on, "turns.barge_in: false"
    return f"it is meant to go on ({what})" if is_meant else None


def _last_sound(evidence: CallEvidence, audible: AudibleSegments, said: Utterance) -> Sound | None:
    """With which what was audible at an utterance's onset was over, if only its energy is known."""
    speech = [sound for sound in audible.ear if sound.kind == "speech"]
    before = [sound for sound in speech if sound.start_ns <= said.start_ns]
    if not before or before[-1].source == "sent":
        return None
    last = before[-1]
    next_answer_ns = _next_playout_ns(evidence, said.start_ns)
    for sound in speech[len(before) :]:
        if sound.start_ns >= next_answer_ns or sound.source == "sent":
            break
        if _pause(last.end_ns, sound) > PAUSE_MS:
            break
        last = sound
    return last if last.end_ns > said.start_ns else None


def _pause(since_ns: int, sound: Sound) -> float:
    return (sound.start_ns - since_ns) / NS_PER_MS


def _detected(evidence: CallEvidence, said: Utterance) -> bool:
    sources = [m.source for m in evidence.marks if m.name == "speech_started"]
    if not sources:
        return True  # nobody's marks: all we have is what is audible
    source = "realtime" if "realtime" in sources else "agent"
    mark = evidence.first(source, "speech_started", after_ns=said.start_ns)  # type: ignore[arg-type]
    return mark is not None and mark.at_ns - said.start_ns <= _DETECTED_WITHIN_NS


def _next_playout_ns(evidence: CallEvidence, after_ns: int) -> int:
    mark = evidence.first("agent", "playout_started", after_ns=after_ns)
    return mark.at_ns if mark else evidence.end_ns + 1


def _heard_errors(
    evidence: CallEvidence, audible: AudibleSegments, answers: Sequence[Answer]
) -> Iterator[Measurement]:
    """For every truncation: what was reported to the server as heard, against what was."""
    for truncate in evidence.find("agent", "truncate_sent"):
        reported_ms = _reported_ms(evidence, truncate)
        item = str(truncate.fields.get("item"))
        answer = next((a for a in answers if a.item == item and a.found), None)
        cut_ns = truncate.at_ns
        if answer is not None:
            cut_ns = max(cut_ns, answer.end_ns)
            low_ms, high_ms = answer.heard_between_ms()
            bound = answer.heard_bound
            how = "what was sent was found in what was heard"
        else:
            bounds_ms = _audible_ms(evidence, audible, truncate)
            if bounds_ms is None:
                continue
            low_ms, high_ms = bounds_ms
            bound = ENERGY_ONSET + ENERGY_END
            how = "by the length of what was audible"
        error_ms = reported_ms - min(max(reported_ms, low_ms), high_ms)
        yield Measurement(
            name="heard_error_ms",
            value=error_ms,
            detail=f"reported {reported_ms:.0f} ms, heard {low_ms:.0f} to {high_ms:.0f} ms: {how}",
            bound=bound,
            span_ns=(truncate.at_ns - _AT_THE_CUT_NS, cut_ns + _AT_THE_CUT_NS),
        )


def _reported_ms(evidence: CallEvidence, truncate: Mark) -> float:
    """What the server took; what the agent says that it sent, where the server says nothing.

    The model goes on by what it was told, whatever the agent believes that it told it.
    """
    for taken in evidence.find("realtime", "truncated", after_ns=truncate.at_ns):
        if taken.fields["item"] == truncate.fields["item"]:
            if (audio_end_ms := taken.fields["audio_end_ms"]) is not None:
                return float(audio_end_ms)
            break
    return float(truncate.fields["audio_end_ms"])


def _audible_ms(
    evidence: CallEvidence, audible: AudibleSegments, truncate: Mark
) -> tuple[float, float] | None:
    """How long an item was heard: up to its last sound, and up to the truncation.

    Where the two lie apart it was cut in a pause of its own, of which nobody knows how much counts.
    """
    started = _playout_of(evidence, truncate)
    if started is None:
        return None
    heard = [
        sound
        for sound in audible.ear
        if sound.kind == "speech"
        and started.at_ns <= sound.end_ns
        and sound.start_ns <= truncate.at_ns
    ]
    if not heard:
        return None
    onset_ns = max(heard[0].start_ns, started.at_ns)
    low_ms = (heard[-1].end_ns - onset_ns) / NS_PER_MS
    return low_ms, max(low_ms, (truncate.at_ns - onset_ns) / NS_PER_MS)


def _playout_of(evidence: CallEvidence, truncate: Mark) -> Mark | None:
    for mark in evidence.find("agent", "playout_started"):
        if mark.fields.get("item") == truncate.fields.get("item"):
            return mark
    return None
