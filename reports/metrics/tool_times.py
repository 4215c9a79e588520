"""What functions cost the caller: how long they ran, and when the answer came that waited for them.

A turn whose model calls functions has two answers: the first sound (`turn_ms`), which may be a
sentence before the call or words while it runs, and the one that answers. That is the first with
sound which the server began when the last function of the turn had answered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from callerside.clock import ms_to_ns
from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.audible import NS_PER_MS, longest_silence
from callerside.reports.metrics.error_bounds import EXACT
from callerside.reports.metrics.heard_call import HeardCall
from callerside.reports.metrics.machine_paths import part_of
from callerside.reports.metrics.machine_time import Part
from callerside.reports.metrics.measurement import (
    NOTHING_TAKEN,
    ErrorBound,
    Measurement,
    Taken,
    Unmeasured,
)
from callerside.reports.metrics.server_way import Trip, way_of
from callerside.reports.metrics.turns import Turn, lead_ms_of

_EARLY_NS = 30 * NS_PER_MS  # a frame is marked as played when it is taken, up to a frame before
_TELL_OF_RESPONSES: tuple[Source, ...] = ("agent", "realtime")
_OF_THE_WAY: tuple[tuple[Source, str], ...] = (
    ("realtime", "response_planned"),
    ("realtime", "delta_sent"),
    ("agent", "first_delta"),
)
_OF_THE_ANSWER = ("final_answer_ms", "answer_after_tools_ms", "tool_silence_ms")


@dataclass(frozen=True)
class _Heard:
    """The answer that waited for functions, where it was heard."""

    at_ns: int
    bound: ErrorBound
    response: str
    item: str


def tool_times(call: HeardCall) -> Iterator[Measurement | Unmeasured]:
    """Each function's time, and for each turn with functions what its caller waited for."""
    evidence = call.evidence
    for number, turn in enumerate(call.turns, start=1):
        later = call.turns[number:]
        until_ns = later[0].start_ns if later else evidence.end_ns
        called = _within(evidence, "tool_called", turn.end_ns, until_ns)
        if not called:
            continue
        finished = [
            one
            for one in _within(evidence, "tool_finished", turn.end_ns, until_ns)
            if one.fields.get("call_id") in {mark.fields.get("call_id") for mark in called}
        ]
        yield from _each(call, called, finished, turn.number)
        if len(finished) < len(called):
            reason = "a function had not answered when the caller spoke again, or the call ended"
            yield from (Unmeasured(name=name, reason=reason) for name in _OF_THE_ANSWER)
            continue
        yield from _answer(call, turn, called[0], finished[-1], until_ns)


def _each(
    call: HeardCall, called: Sequence[Mark], finished: Sequence[Mark], turn: int
) -> Iterator[Measurement]:
    began = {mark.fields.get("call_id"): mark.at_ns for mark in called}
    for mark in finished:
        begun_ns = began[mark.fields.get("call_id")]
        yield Measurement(
            name="tool_ms",
            value=(mark.at_ns - begun_ns) / NS_PER_MS,
            turn=turn,
            detail=str(mark.fields.get("name", "")),
            bound=EXACT,
            span_ns=(begun_ns, mark.at_ns),
            taken=call.machine.of_time(begun_ns, [part_of(mark)]),
        )


def _answer(
    call: HeardCall, turn: Turn, called: Mark, finished: Mark, until_ns: int
) -> Iterator[Measurement | Unmeasured]:
    evidence = call.evidence
    heard = _heard(call, finished.at_ns, until_ns)
    if isinstance(heard, str):
        yield from (Unmeasured(name=name, reason=heard) for name in _OF_THE_ANSWER)
        return
    yield Measurement(
        name="final_answer_ms",
        value=(heard.at_ns - turn.left_ns) / NS_PER_MS,
        turn=turn.number,
        bound=turn.end_bound + heard.bound,
        span_ns=(turn.left_ns, heard.at_ns),
        taken=_taken(call, turn, called, finished, heard),
    )
    since_ns = max([finished.at_ns, *_said_before(evidence, called.at_ns, heard)])
    own = _own(evidence, heard, finished.at_ns, since_ns)
    yield Measurement(
        name="answer_after_tools_ms",
        value=(heard.at_ns - since_ns) / NS_PER_MS,
        turn=turn.number,
        own_ms=None if own is None else own.length_ns / NS_PER_MS,
        own_bound=None if own is None else own.bound,
        bound=heard.bound,
        span_ns=(since_ns, heard.at_ns),
        taken=call.machine.of_sound(since_ns, *_played(evidence, heard, since_ns)),
    )
    silence = longest_silence(call.audible.ear, called.at_ns, heard.at_ns)
    yield Measurement(
        name="tool_silence_ms",
        value=silence.length_ns / NS_PER_MS,
        turn=turn.number,
        bound=silence.bound,
        span_ns=silence.span_ns,
        taken=call.machine.of_spans([silence.span_ns]),
    )


def _taken(call: HeardCall, turn: Turn, called: Mark, finished: Mark, heard: _Heard) -> Taken:
    """What the machine took up to the answer: of the turn's way, the functions, and the answer's.

    What a function takes for itself is the agent's.
    """
    before = [hop for hop in turn.hops if hop.end_ns <= called.at_ns]
    way = sum((call.machine.of_hop(hop) for hop in before), start=NOTHING_TAKEN)
    begun_ns = max((turn.left_ns, *(hop.end_ns for hop in before)))
    functions = call.machine.of_time(begun_ns, [part_of(called), part_of(finished)])
    played = _played(call.evidence, heard, finished.at_ns)
    return way + functions + call.machine.of_sound(finished.at_ns, *played)


def _played(
    evidence: CallEvidence, heard: _Heard, since_ns: int
) -> tuple[list[Part], int, int | None]:
    """The answer's way from then on: what it passes, when it is heard, when it began to leave."""
    marks = [
        *islice(evidence.find("agent", "response_requested", after_ns=since_ns), 1),
        *(
            mark
            for source, name in _OF_THE_WAY
            for mark in evidence.find(source, name, after_ns=since_ns)
            if _is_of(mark, heard.response)
        ),
    ]
    played = evidence.find("agent", "playout_started", after_ns=since_ns)
    left_ns = next((one.at_ns for one in played if one.fields.get("item") == heard.item), None)
    return [part_of(mark) for mark in marks], heard.at_ns, left_ns


def _heard(call: HeardCall, after_ns: int, until_ns: int) -> _Heard | str:
    """The answer; or why it is not known when it was heard."""
    evidence = call.evidence
    created = {
        str(mark.fields.get("response"))
        for source in _TELL_OF_RESPONSES
        for mark in evidence.find(source, "response_created", after_ns=after_ns)
    }
    delta = next(
        (
            mark
            for mark in _within(evidence, "first_delta", after_ns, until_ns)
            if str(mark.fields.get("response")) in created
        ),
        None,
    )
    if delta is None:
        return "no answer came when the functions had answered"
    response, item = str(delta.fields.get("response")), str(delta.fields.get("item"))
    for answer in call.answers:
        if (answer.response, answer.item) == (response, item) and answer.found:
            return _Heard(answer.start_ns, answer.start_bound, response, item)
    played = next(
        (
            mark
            for mark in _within(evidence, "playout_started", after_ns, until_ns)
            if mark.fields.get("item") == item
        ),
        None,
    )
    if played is None:
        return "the answer was not heard before the caller spoke again, or the call ended"
    return _onset(call, played.at_ns, until_ns, response, item)


def _onset(
    call: HeardCall, played_ns: int, until_ns: int, response: str, item: str
) -> _Heard | str:
    for sound in call.audible.ear:
        if sound.start_ns < played_ns - _EARLY_NS < sound.end_ns:
            return "another sound of the agent's runs on into the answer"
        if played_ns - _EARLY_NS <= sound.start_ns < until_ns:
            return _Heard(sound.start_ns, sound.start_bound, response, item)
    return "no sound was heard after it"


def _said_before(evidence: CallEvidence, after_ns: int, heard: _Heard) -> Iterator[int]:
    """When what the agent said meanwhile had been heard: an answer that is there waits for it."""
    for mark in _within(evidence, "playout_ended", after_ns, heard.at_ns):
        if mark.fields.get("item") != heard.item:
            yield mark.at_ns


def _own(evidence: CallEvidence, heard: _Heard, after_ns: int, since_ns: int) -> Trip | None:
    """The server's own part: from its receipt of the request to its first delta, and its silence.

    And the way of both. Of all that only what lies behind `since_ns`. What it was asked for first,
    behind `after_ns`, counts: that an answer failed or had no sound, and another was asked for, is
    the server's, as in a turn without functions.
    """
    planned, sent = (
        next((m for m in evidence.find("realtime", name) if _is_of(m, heard.response)), None)
        for name in ("response_planned", "delta_sent")
    )
    first = next(iter(evidence.find("realtime", "response_planned", after_ns=after_ns)), planned)
    if planned is not None and first is not None and first.at_ns < planned.at_ns:
        planned = first
    if planned is None or sent is None:
        return None
    way = way_of(evidence)
    asked = [
        mark.at_ns
        for mark in evidence.find("agent", "response_requested")
        if mark.at_ns <= planned.at_ns
    ]
    deltas = evidence.find("agent", "first_delta")
    came = next((mark for mark in deltas if _is_of(mark, heard.response)), None)
    there = way.trip(asked[-1] if asked else None, planned.at_ns)
    back = way.trip(sent.at_ns, came.at_ns if came is not None else None)
    begun_ns = max(planned.at_ns - there.length_ns, since_ns)
    own_ns = max(0, sent.at_ns + back.length_ns - begun_ns)
    lead_ns = ms_to_ns(lead_ms_of(evidence, "response", heard.response))
    return Trip(own_ns + lead_ns, there.bound + back.bound)


def _is_of(mark: Mark, response: str) -> bool:
    return mark.fields.get("response") == response


def _within(evidence: CallEvidence, name: str, after_ns: int, until_ns: int) -> list[Mark]:
    """Marks of the agent's, from the one time to before the other."""
    found = evidence.find("agent", name, after_ns=after_ns)
    return [mark for mark in found if mark.at_ns < until_ns]
