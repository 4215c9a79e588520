"""What only the whole timeline can show: expectations on the other parties' marks, and `never`.

The caller's machine hears; it does not see the agent's states or the server's function calls. Those
are looked up here when the call is over and all marks are known. A step that expects one is met by
what happened between the beginning of the caller's last turn before it and the step's `within`.
"""

import math
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import assert_never

from msgspec.structs import replace

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.durations import format_duration
from callerside.marks import Mark, Source
from callerside.simulator.caller.call_state import is_greeting, is_reply
from callerside.simulator.caller.expect import keys_ns
from callerside.simulator.scenario.expectations import (
    DetailedExpectation,
    Dtmf,
    Heard,
    LookedUp,
    Silence,
    Told,
)
from callerside.simulator.scenario.model import Scenario
from callerside.simulator.scenario.steps import Expect

EVERYBODY: Set[Source] = frozenset(("agent", "caller", "realtime"))
CALLER_ALONE: Set[Source] = frozenset(("caller",))
_NEVER_NS = 1 << 62
_KEYS_APART_MS = 2_000.0
"""What an agent presses later than that behind another key is of another number."""
_MOST_TOLD = 10
"""Of the marks that may have been meant."""
_MOST_INSTEAD = 3
"""Of those that may be why there is none."""
_EARLY_MS = 200.0
"""The first packet may be so much earlier than the caller knows of the answer."""
_BEGINS = ("speech_heard", "utterance_started")
_ENDS = ("silence_heard", "utterance_ended")


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time in which neither party spoke."""

    start_ns: int
    end_ns: int

    @property
    def length_ms(self) -> float:
        """How long it lasted."""
        return ns_to_ms(self.end_ns - self.start_ns)


def dead_air(marks: Sequence[Mark]) -> list[Gap]:
    """Every gap between the answer and the end of the call, in order; a beep ends one.

    Args:
        marks: in order of time; those of the caller are looked at.
    """
    mine = [part for mark in marks if mark.source == "caller" for part in _with_its_beginning(mark)]
    mine.sort(key=lambda mark: mark.at_ns)
    answered_ns = next((m.at_ns for m in mine if m.name == "call_answered"), None)
    over_ns = next((m.at_ns for m in mine if m.name in ("hang_up_sent", "call_ended")), None)
    if answered_ns is None or over_ns is None:
        return []
    gaps, speaking, quiet_ns = [], 0, answered_ns
    for mark in mine:
        if not answered_ns <= mark.at_ns <= over_ns:
            continue
        if mark.name in _BEGINS or mark.name == "beep_heard":
            start_ns = mark.at_ns
            if mark.name == "beep_heard":
                start_ns -= round(float(mark.fields.get("length_ms", 0)) * 1_000_000)
            if not speaking and start_ns > quiet_ns:
                gaps.append(Gap(quiet_ns, start_ns))
            quiet_ns = mark.at_ns
        if mark.name in _BEGINS:
            speaking += 1
        elif mark.name in _ENDS:
            speaking = max(0, speaking - 1)
            quiet_ns = mark.at_ns
    if not speaking and over_ns > quiet_ns:
        gaps.append(Gap(quiet_ns, over_ns))
    return gaps


def _with_its_beginning(mark: Mark) -> tuple[Mark, ...]:
    """Of a pause in what is one utterance: that it fell silent, and that it went on."""
    if mark.name != "pause_heard":
        return (mark,)
    quiet_ns = mark.at_ns - ms_to_ns(float(mark.fields["length_ms"]))
    return replace(mark, at_ns=quiet_ns, name="silence_heard"), replace(mark, name="speech_heard")


_PLAYED = {
    "greeting_started": "greeting_ended",
    "prompt_started": "prompt_ended",
    "playout_started": "playout_ended",
}
"""What the agent marks when something of its own begins and ends to leave."""


def check(scenario: Scenario, marks: Sequence[Mark], *, told: Set[Source] = EVERYBODY) -> list[str]:
    """Everything that was expected and is not there, and that must not be and is: a sentence each.

    A fault of the script is expected to strike, and a time in which the network is dead to come.

    Args:
        scenario: what was played.
        marks: of all parties, in order of time.
        told: whose marks they are; what only the others' would show is left out.
    """
    by_agent = "agent" in told
    return [
        *_unmet(scenario, marks, told),
        *_more_keys(scenario, marks),
        *_cut(scenario, marks, by_agent=by_agent),
        *(_rests(scenario, marks) if by_agent else ()),
        *_broken(scenario, marks, told),
        *(_idle_faults(scenario, marks) if "realtime" in told else ()),
        *(_idle_network(scenario, marks) if by_agent else ()),
    ]


def unseen(scenario: Scenario) -> list[str]:
    """What of a scenario the caller's marks do not show: `step 3 (expect state PROCESSING)`."""
    steps = [
        f"step {number + 1} ({step.what()})"
        for number, step in enumerate(scenario.all_steps)
        if isinstance(step, Expect) and not _is_seen(step.expect, CALLER_ALONE)
    ]
    nevers = (one for one in scenario.never if not _is_seen(one, CALLER_ALONE))
    return [*steps, *(f"never {one}" for one in nevers)]


def _is_seen(expected: Heard | DetailedExpectation, told: Set[Source]) -> bool:
    """Whether these parties' own marks show it."""
    return not isinstance(expected, LookedUp) or expected.sources <= told


def _unmet(scenario: Scenario, marks: Sequence[Mark], told: Set[Source]) -> Iterable[str]:
    met: dict[str, set[int]] = {}
    for number, step in enumerate(scenario.all_steps):
        if not isinstance(step, Expect) or not isinstance(step.expect, LookedUp):
            continue
        if not _is_seen(step.expect, told):
            continue
        begun_ns = step_ns("step_started", number, marks)
        if begun_ns is None:
            continue  # the call was over before: the caller has said why
        moment_ns = step_ns("step_ended", number, marks)  # that of its `when`: it does not wait
        limit_ms = step.within if step.within is not None else scenario.caller.patience
        since_ns = last_turn_ns(begun_ns, marks)
        until_ns = (moment_ns or begun_ns) + ms_to_ns(limit_ms)
        if step.within is None and number < len(scenario.steps):
            until_ns = min(until_ns, _next_turn_over_ns(moment_ns or begun_ns, marks))
        taken = met.setdefault(repr(step.expect), set())
        found = [
            place
            for place, mark in enumerate(marks)
            if since_ns <= mark.at_ns <= until_ns and step.expect.is_told_by(mark)
        ]
        left = [place for place in found if place not in taken]
        if left:
            taken.add(left[0])
            continue
        nearest = _nearest(step.expect, marks, since_ns, until_ns)
        if found:
            at = ", ".join(_since_answer(marks[place].at_ns, marks) for place in found)
            nearest = f"what there was, at {at}, has met a step before, and each meets one"
        yield (
            f"step {number + 1}: expected {step.target}{step.expect.details} within "
            f"{format_duration(limit_ms)}, but {nearest}"
        )


def _next_turn_over_ns(from_ns: int, marks: Iterable[Mark]) -> int:
    """When the caller's next turn is over: from then on it is answered, and no step before it."""
    ends = ("utterance_ended", "dtmf_sent")
    begun = False
    for mark in marks:
        if mark.source != "caller" or mark.at_ns < from_ns:
            continue
        begun = begun or mark.name in ("utterance_started", "dtmf_sent")
        if begun and mark.name in ends:
            return mark.at_ns
    return _NEVER_NS


def _more_keys(scenario: Scenario, marks: Sequence[Mark]) -> Iterable[str]:
    """Keys that the agent pressed right behind those that a step expected, and no step did."""
    heard = _named(marks, "dtmf_heard", "caller")
    keys: dict[int, Sequence[int]] = {
        int(mark.fields["step"]): mark.fields["keys"]
        for mark in _named(marks, "step_ended", "caller")
        if "keys" in mark.fields
    }
    met = {key for keys_of_one in keys.values() for key in keys_of_one}
    for number, step in enumerate(scenario.all_steps):
        if not isinstance(step, Expect) or number not in keys:
            continue
        more = ""
        for place in range(keys[number][-1] + 1, len(heard)):
            apart_ns = heard[place].at_ns - heard[place - 1].at_ns
            if place in met or apart_ns > ms_to_ns(_KEYS_APART_MS):
                break
            more += str(heard[place].fields.get("digit"))
        if more:
            yield (
                f"step {number + 1}: expected {step.target} and no other right behind, but the "
                f"agent went on with {more}"
            )


def _left_before(until_ns: int, marks: Sequence[Mark]) -> str:
    """That the caller did not stay for what marks would have told; empty if it did."""
    left_ns = next(
        (mark.at_ns for mark in marks if (mark.source, mark.name) == ("caller", "hang_up_sent")),
        until_ns,
    )
    if left_ns >= until_ns:
        return ""
    return (
        f"; the caller hung up at {_since_answer(left_ns, marks)}: what is looked up after the "
        "call keeps nobody on the line, so let a step wait for it (expect: reply, pause)"
    )


_ENDING = ("greeting", "reply")
"""What is waited for to its end."""


def _cut(scenario: Scenario, marks: Sequence[Mark], *, by_agent: bool) -> Iterable[str]:
    """Greetings and replies whose end was awaited, and which the end of the call has cut.

    An agent may hang up with its last word; nobody can hear that. Ours marks whether it has played
    all: of what it had not, the end may have come in a pause.
    """
    played_all = _played_all(marks) if by_agent else None
    if played_all:
        return
    over = next(iter(_named(marks, "call_ended", "caller")), None)
    ended = _named(marks, "step_ended", "caller")
    by_itself = over is not None and over.fields.get("by") == "caller"
    main = range(len(scenario.steps))
    last = max((int(m.fields["step"]) for m in ended if m.fields["step"] in main), default=0)
    before_it_left = range(last if by_itself else 0)
    cut = {
        mark.fields.get("step")
        for mark in ended
        if mark.fields.get("cut")
        or (
            played_all is False
            and over is not None
            and mark.at_ns >= over.at_ns
            and mark.fields["step"] not in before_it_left
        )
    }
    for number, step in enumerate(scenario.all_steps):
        if isinstance(step, Expect) and step.expect in _ENDING and number in cut:
            yield (
                f"step {number + 1}: expected {step.target} to its end, but it still sounded when "
                "the call ended"
            )


def _rests(scenario: Scenario, marks: Sequence[Mark]) -> Iterable[str]:
    """Replies that were none: the rest of what the agent said already when the caller spoke.

    Behind a pause it sounds like something new; by the agent's marks it is known what it played. An
    answer that follows the rest without a pause is one with it.
    """
    for number, step in enumerate(scenario.all_steps):
        if not isinstance(step, Expect) or step.expect not in ("reply", "reply start"):
            continue
        ended_ns = step_ns("step_ended", number, marks) or 0
        heard_ns = _latest_ns(marks, "caller", ("speech_heard",), ended_ns)
        turn_ns = last_turn_ns(heard_ns, marks)
        until_ns = heard_ns if step.expect == "reply start" else ended_ns
        begun_ns = _latest_ns(marks, "agent", _PLAYED, until_ns)
        if begun_ns and begun_ns < turn_ns:
            before = format_duration(ns_to_ms(turn_ns - begun_ns))
            yield (
                f"step {number + 1}: expected {step.target}, but what was heard from "
                f"{_since_answer(heard_ns, marks)} on was the rest of what the agent had begun to "
                f"say {before} before the caller's turn"
            )


def _latest_ns(marks: Iterable[Mark], source: Source, names: Collection[str], until_ns: int) -> int:
    """When one of those was marked last until then; 0: never."""
    times = [
        mark.at_ns
        for mark in marks
        if mark.source == source and mark.name in names and mark.at_ns <= until_ns
    ]
    return max(times, default=0)


def _played_all(marks: Iterable[Mark]) -> bool | None:
    """Whether the agent played to its end what it played last, by its own marks; None: no word."""
    whole = False
    last: Mark | None = None
    for mark in marks:
        if mark.source != "agent":
            continue
        if mark.name in _PLAYED:
            last, whole = mark, False
        elif last is not None and mark.name == _PLAYED[last.name]:
            same = mark.fields.get("item") == last.fields.get("item")
            whole = same and not mark.fields.get("interrupted")
    return None if last is None else whole


def _broken(scenario: Scenario, marks: Sequence[Mark], told: Set[Source]) -> Iterable[str]:
    answered_ns = next((m.at_ns for m in marks if m.name == "call_answered"), None)
    for expected in scenario.never:
        if not _is_seen(expected, told):
            continue
        times = occurrences(expected, marks, greets=scenario.greets)
        if times:
            what = expected.replace("_", " ") if isinstance(expected, str) else str(expected)
            when = ""
            if answered_ns is not None:
                when = f", {format_duration((times[0] - answered_ns) / 1e6)} after the answer"
            more = f" ({len(times)} times)" if len(times) > 1 else ""
            yield f"never: {what}, and yet it happened{when}{more}"


def _idle_faults(scenario: Scenario, marks: Sequence[Mark]) -> Iterable[str]:
    """Faults that never struck: what the scenario says of them has not been tried."""
    struck = {
        (mark.fields.get("fault"), mark.fields.get("at"))
        for mark in _named(marks, "fault_applied", "realtime")
    }
    for fault in scenario.realtime.faults:
        if (fault.fault, fault.at) not in struck:
            yield f"the fault {fault.fault} at {fault.at} never struck: the call has not come to it"


def _idle_network(scenario: Scenario, marks: Sequence[Mark]) -> Iterable[str]:
    """Times in which nothing was to pass, and nothing would have: the call was over before.

    They count from the first packet, which is not marked: none comes long before the answer. So
    none that begins after the last packet that was stopped, or held back, has done so to any.
    """
    if scenario.network is None:
        return
    answered_ns = next((m.at_ns for m in _named(marks, "call_answered", "caller")), 0)
    names = ("to_agent", "to_caller")
    each = (
        (name, what, times)
        for name, direction in zip(names, scenario.network.directions(), strict=True)
        for what, times in direction.intervals.items()
    )
    for name, what, times in each:
        until_ns = [
            mark.at_ns + ms_to_ns(float(mark.fields.get("lasted_ms", 0.0)))
            for mark in _named(marks, "impairment_applied", "caller")
            if mark.fields.get("what") == what and mark.fields.get("at") == name
        ]
        struck_ms = ns_to_ms(max(until_ns) - answered_ns) if until_ns else -math.inf
        idle = [one for one in _merged(times) if one[0] > struck_ms + _EARLY_MS]
        if idle:
            listed = ", ".join(f"{format_duration(a)} to {format_duration(b)}" for a, b in idle)
            where = name.replace("_", " ")
            yield f"the network was never {what} {where} ({listed}): the call was over"


def _merged(times: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times in order, of which none touches another."""
    merged: list[tuple[float, float]] = []
    for begin, end in sorted(times):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def occurrences(
    expected: Heard | DetailedExpectation, marks: Sequence[Mark], *, greets: bool = True
) -> list[int]:
    """When something happened, by the marks, in nanoseconds.

    Args:
        expected: what is looked for.
        marks: where; all of a call where it is a greeting or a reply.
        greets: whether the agent is set to greet.
    """
    match expected:
        case str():
            return [mark.at_ns for mark in _heard_marks(expected, marks, greets=greets)]
        case Silence(silence=length_ms):
            return [gap.start_ns for gap in dead_air(marks) if gap.length_ms >= length_ms]
        case Dtmf(dtmf=digits):
            heard = _named(marks, "dtmf_heard", "caller")
            return keys_ns(digits, [(m.at_ns, str(m.fields.get("digit", ""))) for m in heard])
        case Told():
            return [mark.at_ns for mark in marks if expected.is_told_by(mark)]
        case unknown:
            assert_never(unknown)


def _heard_marks(word: Heard, marks: Sequence[Mark], *, greets: bool) -> list[Mark]:
    """The caller's marks of what it notices by itself."""
    talks = list(enumerate(_named(marks, "speech_heard", "caller")))
    match word:
        case "answer":
            return _named(marks, "call_answered", "caller")
        case "beep":
            return _named(marks, "beep_heard", "caller")
        case "hang_up":
            ends = _named(marks, "call_ended", "caller")
            return [mark for mark in ends if mark.fields.get("by") == "agent"]
        case "greeting" | "greeting start":
            return [talk for number, talk in talks if is_greeting(number, greets=greets)]
        case "reply" | "reply start":
            first_ns = _first_turn_end_ns(marks)
            return [
                talk
                for number, talk in talks
                if is_reply(number, talk.at_ns, greets=greets, first_turn_end_ns=first_ns)
            ]
        case unknown:
            assert_never(unknown)


def _first_turn_end_ns(marks: Iterable[Mark]) -> int | None:
    """When nothing more of the caller's first turn was to be said, or it had pressed keys."""
    speaking = 0
    for mark in marks:
        if mark.source != "caller":
            continue
        speaking += (mark.name == "utterance_started") - (mark.name == "utterance_ended")
        ends = mark.name == "utterance_ended" and speaking <= 0
        if ends or mark.name == "dtmf_sent":
            return mark.at_ns
    return None


def _named(marks: Iterable[Mark], name: str, source: str) -> list[Mark]:
    return [mark for mark in marks if mark.name == name and mark.source == source]


def step_ns(name: str, number: int, marks: Iterable[Mark]) -> int | None:
    """When a step began (`step_started`) or ended (`step_ended`), if it did."""
    steps = (m for m in marks if m.name == name and m.fields.get("step") == number)
    return next((mark.at_ns for mark in steps), None)


def last_turn_ns(before_ns: int, marks: Iterable[Mark]) -> int:
    """When the caller began to speak last, or pressed keys; from the beginning if it never did."""
    turns = [
        mark.at_ns
        for mark in marks
        if mark.source == "caller"
        and mark.name in ("utterance_started", "dtmf_sent")
        and mark.at_ns <= before_ns
    ]
    return max(turns, default=0)


def _nearest(expected: LookedUp, marks: Sequence[Mark], since_ns: int, until_ns: int) -> str:
    """The nearest thing that did happen, and when.

    What was expected, but at another time; else what there was of that kind in its time, and else
    in the whole call.
    """
    found = [mark.at_ns for mark in marks if expected.is_told_by(mark)]
    if found:
        at_ns = min(found, key=lambda ns: max(since_ns - ns, ns - until_ns))
        away = format_duration(ns_to_ms(since_ns - at_ns if at_ns < since_ns else at_ns - until_ns))
        when = f"at {_since_answer(at_ns, marks)}"
        if at_ns > until_ns:
            return f"it came {away} too late, {when}"
        return f"it came {away} before the caller's last turn began, {when}"
    like = [(mark.at_ns, one) for mark in marks if (one := expected.likeness(mark)) is not None]
    within = [(at_ns, one) for at_ns, one in like if since_ns <= at_ns <= until_ns]
    shown = within or like
    told = [f"{one} at {_since_answer(at_ns, marks)}" for at_ns, one in shown[:_MOST_TOLD]]
    if len(shown) > _MOST_TOLD:
        told.append(f"and {len(shown) - _MOST_TOLD} more")
    elsewhere = ", not in its time" if like and not within else ""
    instead = _instead(expected, marks, since_ns, until_ns)
    left = "" if within else _left_before(until_ns, marks)
    return f"{expected.others}{elsewhere}: {', '.join(told) or 'none'}{instead}{left}"


def _instead(expected: LookedUp, marks: Sequence[Mark], since_ns: int, until_ns: int) -> str:
    """What may be why it did not happen, in its time: the last of that; else nothing."""
    found = expected.instead([mark for mark in marks if since_ns <= mark.at_ns <= until_ns])
    told = [f"{one} at {_since_answer(at_ns, marks)}" for at_ns, one in found[-_MOST_INSTEAD:]]
    return f"; instead there was {', '.join(told)}" if told else ""


def _since_answer(at_ns: int, marks: Iterable[Mark]) -> str:
    """An instant as people count: from the answer, `3.20 s`."""
    answered_ns = next((m.at_ns for m in marks if m.name == "call_answered"), at_ns)
    return f"{ns_to_ms(at_ns - answered_ns) / 1000:.2f} s"
