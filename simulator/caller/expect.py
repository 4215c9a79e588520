"""Judges what the caller expects to hear: not yet, heard, or failed with a sentence for why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from callerside.clock import ms_to_ns, ns_to_ms
from callerside.durations import format_duration
from callerside.simulator.caller.call_state import ObservedCall
from callerside.simulator.caller.listener import AgentUtterance
from callerside.simulator.scenario.expectations import (
    DetailedExpectation,
    Dtmf,
    Heard,
    LookedUp,
    Refused,
    Silence,
    Transfer,
    matches,
)
from callerside.simulator.scenario.moments import Moment
from callerside.simulator.scenario.steps import Expect

CERTAINTY_MS = 100
"""The detector reports a beginning this much later at most; a deadline is judged so much later."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet: look again at `until_ns`, or at the next fact. Or never: `failure` says why."""

    until_ns: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Met:
    """It is there."""

    cut: bool = False
    """It still sounded when the call ended, and may have had an end or none."""
    keys: Sequence[int] = ()
    """Which of the keys that were heard it was, from 0."""


def expectation(step: Expect, observed: ObservedCall, since_ns: int, now_ns: int) -> Waiting | Met:
    """Whether what the step expects is there, or what to wait for.

    Args:
        step: what is expected.
        observed: what is known about the call.
        since_ns: from when its `within` counts.
        now_ns: the time now.
    """
    return _Judgement(step, observed, since_ns, now_ns).judge()


def nearest(step: Expect, observed: ObservedCall, since_ns: int, now_ns: int) -> str:
    """What of the kind that a step still expects did happen, and when; empty where it says nothing.

    The arguments are those of `expectation`.
    """
    return _Nearest(observed, since_ns, now_ns).to(step.expect)


def nearest_to_moment(moment: Moment, observed: ObservedCall, since_ns: int, now_ns: int) -> str:
    """The same of the moment that a step still waits for."""
    return _Nearest(observed, since_ns, now_ns).to_moment(moment)


def keys_ns(digits: str, heard: Sequence[tuple[int, str]]) -> list[int]:
    """When the last of some keys that follow one another was heard: each time that they did.

    Args:
        digits: the keys.
        heard: each key that was, with its time.
    """
    all_digits = "".join(digit for _, digit in heard)
    found = []
    position = all_digits.find(digits)
    while position >= 0:
        found.append(heard[position + len(digits) - 1][0])
        position = all_digits.find(digits, position + 1)
    return found


def _listed(what: str, observed: ObservedCall, found: Sequence[tuple[int, str]]) -> str:
    told = ", ".join(f"{one} at {observed.since_answer(at_ns)}" for at_ns, one in found)
    return f"{what}: {told}" if told else ""


class _Judgement:
    def __init__(self, step: Expect, observed: ObservedCall, since_ns: int, now_ns: int) -> None:
        self._step = step
        self._observed = observed
        self._since_ns = since_ns
        self._now_ns = now_ns
        self._within_ms = step.within if step.within is not None else observed.caller.patience

    def judge(self) -> Waiting | Met:
        observed = self._observed
        match self._step.expect:
            case str(word):
                return self._heard(word)
            case Refused(refused=status):
                refused = observed.ended is not None and observed.ended.status == status
                return self._once("end", [observed.ended_ns] if refused else [])
            case Silence(silence=length_ms):
                return self._silence(length_ms)
            case Dtmf(dtmf=digits):
                return self._keys(digits)
            case Transfer(transfer=pattern):
                fits = [
                    at_ns if matches(pattern, uri) else None for at_ns, uri in observed.transfers
                ]
                return self._once("transfer", fits, self._turn_ns())
            case LookedUp():  # on the timelines, after the call
                return Met()
            case unknown:
                assert_never(unknown)

    def _heard(self, word: Heard) -> Waiting | Met:
        observed = self._observed
        match word:
            case "answer":
                return self._once("answer", [observed.answered_ns])
            case "beep":
                beeps = [beep.end_ns for beep in observed.listener.beeps]
                return self._once("beep", beeps, self._turn_ns())
            case "greeting" | "greeting start":
                greeting = observed.greeting()
                is_past = greeting is not None and (
                    greeting.heard_out or (greeting.end_ns or math.inf) < self._turn_ns()
                )
                return self._utterance(None if is_past else greeting)
            case "reply" | "reply start":
                return self._utterance(observed.reply())
            case "hang_up":
                ended = observed.ended if observed.answered_ns is not None else None  # not refused
                by_agent = ended is not None and ended.by == "agent"
                return self._once("end", [observed.ended_ns] if by_agent else [])
            case unknown:
                assert_never(unknown)

    def _once(self, what: str, times_ns: Sequence[int | None], from_ns: int = 0) -> Waiting | Met:
        """The first of these that is no earlier, and has met no other step; None: none of it."""
        met = self._observed.met
        number, at_ns = next(
            (
                (number, at_ns)
                for number, at_ns in enumerate(times_ns)
                if at_ns is not None and at_ns >= from_ns and (what, number) not in met
            ),
            (0, None),
        )
        judged = self._event(at_ns)
        if isinstance(judged, Met):
            met.add((what, number))
        return judged

    def _keys(self, digits: str) -> Waiting | Met:
        """The next keys of this turn, from the first that has met no other step."""
        observed, from_ns = self._observed, self._turn_ns()
        pressed = [
            (number, at_ns, key)
            for number, (at_ns, key) in enumerate(observed.digits)
            if at_ns >= from_ns and ("key", number) not in observed.met
        ][: len(digits)]
        is_there = "".join(key for _, _, key in pressed) == digits
        judged = self._event(pressed[-1][1] if is_there else None)
        if not isinstance(judged, Met):
            return judged
        keys = [number for number, _, _ in pressed]
        observed.met.update(("key", number) for number in keys)
        return Met(keys=keys)

    def _event(self, at_ns: int | None) -> Waiting | Met:
        deadline_ns = self._since_ns + ms_to_ns(self._within_ms)
        if at_ns is not None:
            return Met() if at_ns <= deadline_ns else self._late(at_ns)
        if self._observed.ended is not None:
            return Waiting()  # the machine says that the call has ended
        judged_ns = deadline_ns + ms_to_ns(CERTAINTY_MS)
        return Waiting(judged_ns) if self._now_ns < judged_ns else self._missing()

    def _utterance(self, utterance: AgentUtterance | None) -> Waiting | Met:
        begun = self._event(utterance.start_ns if utterance else None)
        if utterance is None or isinstance(begun, Waiting):
            return begun
        if str(self._step.expect).endswith("start"):
            return begun
        if not (utterance.over or utterance.cut):
            return Waiting()
        utterance.heard_out = True
        return Met(cut=utterance.cut)

    def _silence(self, length_ms: float) -> Waiting | Met:
        """Silence from before the step, or from before the end of the caller's turn, is no part."""
        if self._step.within is None:
            self._within_ms += length_ms
        since_ns = self._observed.agent_silent_since_ns()
        if since_ns is None:
            return self._event(None)
        end_ns = max(since_ns, self._since_ns) + ms_to_ns(length_ms)
        return self._event(end_ns) if end_ns <= self._now_ns else Waiting(end_ns)

    def _turn_ns(self) -> int:
        """When the caller's last turn began: what came a turn ago is nothing of now."""
        return self._observed.turn_start_ns(self._since_ns)

    def _late(self, at_ns: int) -> Waiting:
        took_ms = ns_to_ms(at_ns - self._since_ns)
        return Waiting(
            failure=f"{self._expected()}, but it came after {format_duration(took_ms)}; "
            f"{self._observed.heard_so_far()}"
        )

    def _missing(self) -> Waiting:
        near = nearest(self._step, self._observed, self._since_ns, self._now_ns)
        told = self._observed.heard_so_far()
        return Waiting(failure=f"{self._expected()}, but {f'{near}; ' if near else ''}{told}")

    def _expected(self) -> str:
        return f"expected {self._step.target} within {format_duration(self._within_ms)}"


class _Nearest:
    """What of a kind did happen, and when, where something did not."""

    def __init__(self, observed: ObservedCall, since_ns: int, now_ns: int) -> None:
        self._observed = observed
        self._since_ns = since_ns
        self._now_ns = now_ns

    def to(self, expected: Heard | DetailedExpectation) -> str:
        """To what was expected; empty where nothing of the kind did."""
        observed = self._observed
        match expected:
            case str(word):
                return self._to_word(word)
            case Dtmf():
                return _listed("keys heard", observed, observed.digits) or "no key was heard"
            case Transfer():
                return _listed("transfers", observed, observed.transfers) or "there was no transfer"
            case Silence():
                return self._longest_silence()
            case Refused():
                return self._answered()
            case LookedUp():
                return ""
            case unknown:
                assert_never(unknown)

    def to_moment(self, moment: Moment) -> str:
        """To a moment that did not come."""
        match moment.event:
            case None:
                return self._longest_silence()
            case "dialed" | "ringing":
                return self._ringing()
            case "answer" | "beep" | "greeting" | "reply":
                return self._to_word(moment.event)
            case unknown:
                assert_never(unknown)

    def _to_word(self, word: Heard) -> str:
        observed = self._observed
        match word:
            case "answer":
                return self._ringing()
            case "beep":
                return self._met_before() if observed.listener.beeps else "no beep was heard"
            case "greeting" | "greeting start":
                if observed.greeting() is not None:
                    return self._met_before()
                return "" if observed.greets else "this agent is set not to greet"
            case "reply" | "reply start":
                return self._other_speech()
            case "hang_up":
                return "the call was still up" if observed.ended is None else ""
            case unknown:
                assert_never(unknown)

    def _met_before(self) -> str:
        """Why what was heard meets no step any more."""
        turn_ns = self._observed.turn_start_ns(self._since_ns)
        if not turn_ns:
            return "what was heard has met a step before, and each meets one"
        return (
            "what was heard has met a step before, or was over when the caller's last turn began "
            f"(at {self._observed.since_answer(turn_ns)})"
        )

    def _ringing(self) -> str:
        dialed_ns, ringing_ns = self._observed.dialed_ns, self._observed.ringing_ns
        if dialed_ns is None or ringing_ns is None:
            return "it did not ring"
        return f"it rang {format_duration(ns_to_ms(ringing_ns - dialed_ns))} after it was dialled"

    def _answered(self) -> str:
        dialed_ns, answered_ns = self._observed.dialed_ns, self._observed.answered_ns
        if dialed_ns is None or answered_ns is None:
            return self._ringing()
        return f"it was answered after {format_duration(ns_to_ms(answered_ns - dialed_ns))}"

    def _other_speech(self) -> str:
        """Why the last that was said is no reply."""
        turn_end_ns, said = self._observed.turn_end_ns, self._observed.listener.utterances
        if not said or turn_end_ns is None:
            return ""
        before_ms = ns_to_ms(turn_end_ns - said[-1].start_ns)
        if before_ms > 0:
            return (
                f"what was said last began {format_duration(before_ms)} before the caller's turn "
                f"was over (at {self._observed.since_answer(turn_end_ns)})"
            )
        if not said[-1].heard_out:
            return ""
        last = said[-1]
        until = f" to {self._observed.since_answer(last.quiet_ns)}" if last.quiet_ns else ""
        least = format_duration(self._observed.caller.end_silence)
        return (
            f"what was said last, from {self._observed.since_answer(last.start_ns)}{until}, has "
            "been waited out by a step before (what follows after a pause of less than "
            f"{least} is of the same reply: expect one, or let a function between take longer)"
        )

    def _longest_silence(self) -> str:
        """Between what was heard, from the step on."""
        said = self._observed.listener.utterances
        ends_ns = [self._since_ns, *(one.quiet_ns or self._now_ns for one in said)]
        starts_ns = [*(one.start_ns for one in said), self._now_ns]
        gaps = [
            (min(start_ns, self._now_ns) - max(end_ns, self._since_ns), max(end_ns, self._since_ns))
            for end_ns, start_ns in zip(ends_ns, starts_ns, strict=True)
        ]
        longest_ns, from_ns = max(gaps)
        if longest_ns <= 0:
            return "there was none"
        length = format_duration(ns_to_ms(longest_ns))
        return f"the longest was {length}, from {self._observed.since_answer(from_ns)} on"
