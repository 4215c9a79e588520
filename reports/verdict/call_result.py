"""One call, measured and judged: its behaviour, its timing, and what could not be measured.

Behaviour is what was said, heard and sent, and in what order; timing is the budget. They are judged
apart, and a call's verdict is made of both:

    passed         the behaviour is right, and everything with a limit is within it
    failed         the behaviour is wrong, or something measured is beyond its limit
    flaky          the behaviour was wrong, and right when the call was placed once more
    not measured   the behaviour is right as far as it could be looked at, and something that the
                   scenario expects could not be, or something with a limit could not be judged, or
                   there was nothing to hold to any limit
    error          the call could not be played
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from callerside.reports.evidence import (
    CallEvidence,
    CallInfo,
    EvidenceError,
    KnownFailure,
    attempt_folder,
)
from callerside.reports.metrics.metrics import Measured, measure, nothing_measured
from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.budget import (
    Judged,
    Limits,
    Reason,
    is_lifted,
    judge,
    limits_for,
    parse_limits,
)
from callerside.reports.verdict.calibration import Calibration
from callerside.reports.verdict.machine import (
    disturbance,
    percentiles_without_the_machines,
    without_the_machines,
)

CallVerdict = Literal["passed", "failed", "not measured", "flaky", "error"]

NOTHING = "nothing to measure it by has happened"
NOT_OURS = "as only an agent of ours tells of it"
NOTHING_AT_ALL = "nothing that has a limit came to be measured"
WHY: dict[Reason, str] = {
    "machine": "the machine stood still, which explains it",
    "undecided": "the limit lies within the error bound",
}


class Part(NamedTuple):
    """A verdict and its reason; of a call, or of a part of one."""

    verdict: CallVerdict
    detail: str


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """One call, measured and judged; of several attempts, the last one."""

    evidence: CallEvidence
    measured: Measured
    judged: list[Judged]
    earlier: tuple["CallResult", ...] = ()
    """The attempts before this one, the first one first."""

    def outline(self) -> "CallResult":
        """What a run still has to know of it: no sound, neither heard nor sent, and few marks."""
        return replace(self, evidence=self.evidence.outline(), measured=self.measured.outline())

    @property
    def slug(self) -> str:
        """The name of the call's directory."""
        info = self.evidence.info
        return info.stage or (info.name if info.repeat == 1 else f"{info.name}-{info.repeat}")

    @property
    def warnings(self) -> list[str]:
        """What of a call that has passed is to be known all the same, a sentence each."""
        return self.evidence.info.warnings if self.verdict == "passed" else []

    @property
    def folder(self) -> str:
        """Of an attempt that does not count: the folder in the call's own."""
        return attempt_folder(self.evidence.info)

    @property
    def attempts(self) -> tuple["CallResult", ...]:
        """All of them, in order."""
        return (*self.earlier, self)

    @property
    def behaviour(self) -> Part:
        """Whether what was said, heard and sent was as scripted."""
        info = self.evidence.info
        if info.verdict == "passed" and info.unchecked:
            return Part("not measured", f"not measured: {self._unchecked}")
        return Part(info.verdict, info.detail)

    @property
    def _unchecked(self) -> str:
        """What the scenario expects and nobody could look at, in words."""
        return f"not checked, {NOT_OURS}: {', '.join(self.evidence.info.unchecked)}"

    @cached_property
    def timing(self) -> Part:
        """Whether the budget was kept, as far as it could be measured."""
        if over := [one for one in self.judged if one.verdict == "failed"]:
            below = [one for one in over if _is_about_its_least(one)]
            groups = {
                "over budget": [one for one in over if one not in below],
                "below budget": below,
            }
            told = (f"{how}: {_described(those)}" for how, those in groups.items() if those)
            return Part("failed", "; ".join(told))
        if why := self._undecided:
            return Part("not measured", "not measured: " + "; ".join(why))
        if self._holds_nothing:
            return Part("not measured", f"not measured: {NOTHING_AT_ALL}")
        return Part("passed", "")

    @property
    def not_measured(self) -> list[str]:
        """What was asked for and could not be judged, each with its reason."""
        unchecked = self.behaviour.verdict == "not measured"
        return [*([self._unchecked] if unchecked else []), *self._undecided]

    @cached_property
    def _undecided(self) -> list[str]:
        """What of the budget could not be judged, each with its reason."""
        told = [
            f"{describe(one)} ({WHY[one.reason]})"
            for one in self.judged
            if one.reason and not self._is_moot(one)
        ]
        told += self._not_told_by_the_sound()
        told += [f"{name} has a limit, and {self.why_none(name)}" for name in self.unheld]
        # What went wrong may have left nothing to measure by: that is told, and not this.
        if not told and self._holds_nothing and self.evidence.info.verdict == "passed":
            told = [NOTHING_AT_ALL]
        return told

    def _not_told_by_the_sound(self) -> list[str]:
        """Of a bare recording: limits of what has happened in it and has no value, and why."""
        info = self.evidence.info
        if info.recording is None:
            return []
        held = {one.name for one in self.judged}
        why: dict[str, str] = {}
        for one in self.measured.unmeasured:
            if not one.moot:
                why.setdefault(one.name, one.reason)
        told = [
            f"{name}: {why[name]}"
            for name, limit in info.limits.items()
            if name in why and name not in held and not is_lifted(limit)
        ]
        return [*told, *info.warnings] if told else []

    @cached_property
    def _holds_nothing(self) -> bool:
        """Whether nothing came to be held to a limit, and something was to be.

        A bare recording without limits of its own is held to none, and a call that the caller
        gave up before an answer was to be held to none; nor is one of whose values the scenario
        has taken each limit off: its behaviour is all that it asks for.
        """
        hung_up = self.evidence.find("caller", "hang_up_sent")
        if any(one.fields.get("how") == "cancel" for one in hung_up):
            return False
        info = self.evidence.info
        limits = limits_of(info)
        if not limits or any(_is_held(one, limits) for one in self.judged):
            return False
        lifted = {name for name, limit in info.limits.items() if is_lifted(limit)}
        yielded = {*info.should_yield, *(one.name for one in self.judged)}
        return bool(limits.keys() & set(info.should_yield)) or not lifted & yielded

    def _is_moot(self, one: Judged) -> bool:
        """Whether a limit that could not be decided upon was asked for by nobody.

        The defaults are for calls whose every edge is known. An agent's own timeline and recording
        tell some of these numbers less well than the limit is narrow.
        """
        info = self.evidence.info
        asked = one.name in info.limits
        return info.lane == "production" and one.reason == "undecided" and not asked

    @property
    def unheld(self) -> list[str]:
        """The limits of the scenario's own that nothing was held to.

        Where they are of some kinds of a metric, what was measured is of one of these.
        """
        info = self.evidence.info
        kinds = {name: _kinds_of(name, info.limits.get(name)) for name in info.own_limits}
        limits = limits_of(info) if kinds else {}
        held = {
            one.name
            for one in self.judged
            if _is_held(one, limits) and (not kinds.get(one.name) or one.variant in kinds[one.name])
        }
        return [name for name in kinds if name not in held]

    def why_none(self, name: str) -> str:
        """Why nothing was held to a limit of the scenario's own."""
        reasons = [one.reason for one in self.measured.unmeasured if one.name == name]
        return f"{NOTHING}: {reasons[0]}" if reasons else NOTHING

    @property
    def known(self) -> KnownFailure | None:
        """What is known to be wrong, where that is what went wrong, and may be: it fails nobody."""
        known = self.evidence.info.known_failure
        return known if known and not known.over and self._outcome.verdict == "failed" else None

    @property
    def verdict(self) -> CallVerdict:
        """That of the whole call."""
        return self._judged_by_what_is_known.verdict

    @property
    def detail(self) -> str:
        """Why, if it has not passed."""
        return self._judged_by_what_is_known.detail

    @cached_property
    def _judged_by_what_is_known(self) -> Part:
        outcome, known = self._outcome, self.evidence.info.known_failure
        if known is None or outcome.verdict == "error":
            return outcome
        if outcome.verdict == "passed":
            over = f"; its day, {known.until}, is over, too" if known.over else ""
            return Part("failed", f"it passes: take its known_failure out ({known.reason}){over}")
        if outcome.verdict == "failed":
            until = f"until {known.until}, which is over" if known.over else f"until {known.until}"
            return Part("failed", f"known {until} ({known.reason}): {outcome.detail}")
        return outcome

    @cached_property
    def _outcome(self) -> Part:
        behaviour, timing = self.behaviour, self.timing
        if behaviour.verdict in ("failed", "error"):
            return behaviour
        if timing.verdict == "failed":
            return timing
        before = [one.behaviour.detail for one in self.earlier if one.behaviour.verdict == "failed"]
        if before:
            return Part("flaky", f"right when it was placed once more; before: {before[-1]}")
        if why := self.not_measured:
            return Part("not measured", "not measured: " + "; ".join(why))
        return behaviour if timing.verdict == "passed" else timing


def judge_call(evidence: CallEvidence, calibration: Calibration | None = None) -> CallResult:
    """Measure a call and hold it to its budget, with the harness's own error in view.

    The error was measured over SIP and RTP, and is not that of a virtual call. Limits of
    percentiles are for all calls of a scenario: see `judge_together`.

    Raises:
        BudgetError: the call's own limits cannot be understood.
        EvidenceError: a mark lacks what it must hold.
    """
    try:
        measured = measure(evidence)
    except (LookupError, TypeError, ValueError) as error:
        raise EvidenceError(
            f"{evidence.name}: cannot be measured: a mark is not as docs/marks.md has it: {error!r}"
        ) from error
    judged = judge(
        measured.measurements,
        limits_of(evidence.info),
        calibration=None if evidence.info.lane == "virtual" else calibration,
    )
    judged = without_the_machines(judged, disturbance(evidence.marks))
    return CallResult(
        evidence=evidence,
        measured=measured,
        judged=judged,
        earlier=tuple(judge_call(attempt, calibration) for attempt in evidence.earlier),
    )


def limits_of(info: CallInfo) -> Limits:
    """What a call is held to: the default budget with its own limits over it.

    A bare recording is held to its own alone: the defaults are for calls that were set up.
    """
    return parse_limits(info.limits) if info.lane == "recording" else limits_for(info.limits)


def _is_held(one: Judged, limits: Limits) -> bool:
    """Whether a value is held to a limit: to one of percentiles with those of other calls."""
    limit = limits.get(one.name)
    by_many = limit is not None and bool(limit.of(one.variant).percentiles)
    return one.verdict != "unlimited" or by_many


def _kinds_of(name: str, limit: Any) -> set[str]:
    """The kinds of a metric that a limit speaks of, where it speaks of nothing else; else none."""
    metric = METRICS.get(name)  # a timeline of an earlier version may name one that is gone
    kinds = set(metric.variants) if metric else set()
    return set(limit) if isinstance(limit, Mapping) and set(limit) <= kinds else set()


def unmeasured_call(info: CallInfo) -> CallResult:
    """A call of which nothing can be read or measured, with the verdict that is in `info`."""
    return CallResult(
        evidence=CallEvidence(info=info, marks=[]), measured=nothing_measured(), judged=[]
    )


def under_info(call: CallResult, info: CallInfo) -> CallResult:
    """The same numbers, where more is known of the call than when it was measured.

    `info` differs from the call's own in verdict, detail, warnings and log only.
    """
    return replace(call, evidence=replace(call.evidence, info=info))


def judge_together(calls: Sequence[CallResult]) -> list[CallResult]:
    """The calls, with the percentiles of each scenario judged over all of its calls.

    What is found stands with the scenario's last call, and may be what that one fails by.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for position, call in enumerate(calls):
        groups[call.evidence.info.name].append(position)
    together = list(calls)
    for positions in groups.values():
        last = calls[positions[-1]]
        values = [
            (one, by)
            for position in positions
            for by in (disturbance(calls[position].evidence.marks),)
            for one in calls[position].judged
        ]
        found = percentiles_without_the_machines(values, limits_of(last.evidence.info))
        if found:
            single = [one for one in last.judged if one.statistic is None]
            together[positions[-1]] = replace(last, judged=[*single, *found])
    return together


def describe(one: Judged) -> str:
    """A judged number as a phrase: `turn_ms of turn 2 is 812.0 ms, limit 640.0 ms`.

    Where its least is nearer, `at least 640.0 ms`.
    """
    what = f"{one.name} {one.statistic} {one.detail}" if one.statistic else one.name
    where = f" of turn {one.turn}" if one.turn is not None else ""
    most = "at least" if _is_about_its_least(one) else "limit"
    limit = f", {most} {one.limit:.1f} {one.unit}" if one.limit is not None else ""
    taken = one.as_measured - one.value
    less = f" ({one.as_measured:.1f} less what the machine took)" if taken else ""
    return f"{what}{where} is {one.value:.1f} {one.unit}{less}{limit}"


def _described(judged: Sequence[Judged]) -> str:
    return "; ".join(map(describe, judged))


def _is_about_its_least(one: Judged) -> bool:
    """Whether the nearer of a value's limits is what it is to be at least."""
    return one.low is not None and one.limit == one.low and one.low != one.high
