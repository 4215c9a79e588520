"""What is wrong with the agent's answers as they were heard: holes, gaps, repetitions, noise."""

from collections.abc import Iterator

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.answers import COMPARED_HZ, Answer
from callerside.reports.metrics.audible import NS_PER_MS
from callerside.reports.metrics.error_bounds import FRAME, PACKET
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.measurement import ErrorBound, Measurement, Unmeasured

_CUT = frozenset({"truncate_sent", "playout_cleared"})
_OF_AN_ANSWER = (
    "gap_ms",
    "missing_ms",
    "repeated_ms",
    "onset_clipped_ms",
    "tail_clipped_ms",
    "intelligibility",
)
_CUTTERS = frozenset({"speech_started", "hang_up_sent", "call_ended"})
_EARLY_NS = 60 * NS_PER_MS
_STOI = ErrorBound(2.0, "how well what was heard is laid in step with what was sent")
_AT_ITS_END_NS = 250 * NS_PER_MS  # what befalls an answer that late after its end has not cut it


def faults(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """What became of every answer between server and ear."""
    if call.evidence.info.lane == "recording":
        yield from _by_sound_alone(call)
        return
    yield from _marked_by_the_agent(call)
    numbers = {turn.response: turn.number for turn in call.turns}
    for answer in call.answers:
        alignment = answer.alignment
        turn = numbers.get(answer.response)
        if not answer.found:
            for name in _OF_AN_ANSWER:
                yield Unmeasured(name=name, turn=turn, reason=_unrecognised(answer))
            continue
        to_ms = 1000 / COMPARED_HZ
        holes = len(alignment.holes)
        sent = f"of {answer.sent.size / answer.evidence.rate_hz:.1f} s sent"
        bound = answer.faults_bound
        gap_ms, gap_bound = alignment.longest_hole() * to_ms, answer.hole_bound
        how = f"the longest of {holes}" if holes > 1 else ""
        open_ms = _left_open_ms(answer.evidence, answer.item)
        if open_ms > gap_ms:
            gap_ms, gap_bound = open_ms, FRAME
            how = "as the agent says: nothing more of it came"
        missing, missing_bound = alignment.missing, bound
        if alignment.unheard and not _was_cut(answer):
            missing += alignment.unheard
            missing_bound = bound + answer.end_bound
            sent = f"{sent}; its last {alignment.unheard * to_ms:.0f} ms were never heard"
        for name, value, detail, off in (
            ("gap_ms", gap_ms, how, gap_bound),
            ("missing_ms", missing * to_ms, sent, missing_bound),
            ("repeated_ms", alignment.repeated * to_ms, sent, bound),
        ):
            yield Measurement(
                name=name,
                value=value,
                turn=turn,
                detail=detail,
                bound=off,
                span_ns=_span_ns(answer),
            )
        yield from _clipped(answer, turn)
        yield _understood(answer, turn)


def _by_sound_alone(call: HeardCall) -> Iterator[Measurement]:
    """The longest hole in what the agent says, where nobody knows what was sent."""
    found = call.holes
    if not any(sound.kind == "speech" for sound in call.audible.ear):
        return
    longest = max((end_ns - start_ns for start_ns, end_ns in found), default=0)
    yield Measurement(
        name="gap_ms",
        value=longest / NS_PER_MS,
        detail=f"the longest of {len(found)}, by the sound alone"
        if found
        else "by the sound alone",
        bound=PACKET,
    )


def _clipped(answer: Answer, turn: int | None) -> Iterator[Measurement | Unmeasured]:
    """What was sent of its beginning and its end, and never heard."""
    to_ms = 1000 / COMPARED_HZ
    first = answer.alignment.spans[0].start
    yield Measurement(
        name="onset_clipped_ms",
        value=first * to_ms,
        turn=turn,
        bound=answer.start_bound,
        span_ns=(answer.start_ns - _EARLY_NS, answer.start_ns),
    )
    if _was_cut(answer):
        reason = "its end was not due: somebody spoke into it, or the call ended"
        yield Unmeasured(name="tail_clipped_ms", turn=turn, reason=reason)
        return
    yield Measurement(
        name="tail_clipped_ms",
        value=answer.alignment.unheard * to_ms,
        turn=turn,
        bound=answer.end_bound,
        span_ns=(answer.end_ns, answer.end_ns + _AT_ITS_END_NS),
    )


def _span_ns(answer: Answer) -> tuple[int, int]:
    """Of an answer: what the machine did at another time has put no fault into it."""
    return answer.start_ns - _EARLY_NS, answer.end_ns + _AT_ITS_END_NS


def _understood(answer: Answer, turn: int | None) -> Measurement | Unmeasured:
    name = "intelligibility"
    if answer.evidence.info.lane == "virtual" and name not in answer.evidence.info.limits:
        reason = "in memory it is computed only of a call that has a limit for it"
        return Unmeasured(name=name, turn=turn, reason=reason)
    if answer.intelligibility is None:
        return Unmeasured(name=name, turn=turn, reason="less than half a second was heard")
    detail = f"laid in step at a correlation of {answer.likeness:.2f}"
    value = answer.intelligibility
    return Measurement(name=name, value=value, turn=turn, detail=detail, bound=_STOI)


def _unrecognised(answer: Answer) -> str:
    return (
        f"what was sent of {answer.item} was not recognised in what was heard "
        f"(a correlation of {answer.likeness:.2f})"
    )


def _was_cut(answer: Answer) -> bool:
    """Whether an answer's end was not due: somebody spoke into it, or the call ended before."""
    evidence = answer.evidence
    if any(mark.fields.get("item") == answer.item for mark in evidence.find("agent", *_CUT)):
        return True
    if answer.end_ns > evidence.at_ns(len(evidence.recording)) - _AT_ITS_END_NS:
        return True
    return any(
        answer.start_ns - _EARLY_NS <= mark.at_ns <= answer.end_ns + _AT_ITS_END_NS
        for mark in evidence.marks
        if mark.name in _CUTTERS and (mark.source, mark.name) != ("realtime", "call_ended")
    )


def _marked_by_the_agent(call: HeardCall) -> Iterator[Measurement]:
    """Silence that the agent put into an answer, as it says itself: nothing had come to play.

    Every answer counts, the greeting and those to no words among them. What was recognised has its
    `gap_ms` from there; beside such, one that was not has one only if its hole was left open.
    """
    evidence = call.evidence
    recognised = {answer.item for answer in call.answers if answer.found}
    numbers = {turn.item: turn.number for turn in call.turns}
    for item in dict.fromkeys(
        m.fields.get("item") for m in evidence.find("agent", "playout_started")
    ):
        if item in recognised:
            continue
        if recognised and not _left_open_ms(evidence, item):
            continue
        yield Measurement(
            name="gap_ms",
            value=max(_marked_gaps_ms(evidence, item), default=0.0),
            turn=numbers.get(item),
            detail="as the agent says: what the server sent is not known"
            if not recognised
            else "as the agent says: it was not recognised in what was heard",
            bound=FRAME,
        )


def _marked_gaps_ms(evidence: CallEvidence, item: str | None) -> list[float]:
    """The gaps in an answer that the agent has marked: nothing had come to play."""
    return [float(mark.fields["missing_ms"]) for mark in _underruns(evidence, item)]


def _left_open_ms(evidence: CallEvidence, item: str | None) -> float:
    """The longest hole after which nothing more of an answer came: what was heard ends before it.

    Nothing that was sent shows it, as the server sent nothing more either.
    """
    holes = (m for m in _underruns(evidence, item) if "until" in m.fields)
    return max((float(mark.fields["missing_ms"]) for mark in holes), default=0.0)


def _underruns(evidence: CallEvidence, item: str | None) -> Iterator[Mark]:
    return (m for m in evidence.find("agent", "playout_underrun") if m.fields.get("item") == item)
