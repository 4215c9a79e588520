"""`results.json`: a run's verdicts and numbers, for programs. Its shape is versioned."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from callerside.reports.evidence import CallEvidence, CallInfo, EvidenceError, Verdict
from callerside.reports.metrics.metrics import Measured, measure, nothing_measured
from callerside.reports.verdict.budget import (
    Judged,
    Limits,
    judge,
    judge_percentiles,
    limits_for,
    parse_limits,
)
from callerside.reports.verdict.calibration import Calibration, to_data
from callerside.reports.verdict.summary import Summary, summary_of

RESULTS = "results.json"
VERSION = 1
"""Of the shape of `results.json`; it grows when a reader of the old shape would be misled."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What is known about a run as a whole."""

    started_at: str
    """ISO 8601, with its zone."""
    command: str = ""
    lane: str = "sip"
    commit: str = ""
    seed: int | None = None
    concurrency: int = 1
    """How many calls went on at once."""
    duration_s: float | None = None
    calibration: Calibration | None = None
    """How true the harness is on this machine, if that was measured."""
    environment: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    """Why the run could not go on, if it could not: calls that it was to place are not there."""
    excused: Sequence[str] = ()
    """The calls, by their slugs, that the machine left unmeasured and that do not decide."""

    @property
    def harness_error(self) -> str:
        """How true the numbers are, in a line."""
        if self.lane == "virtual":
            return "calibrated over SIP, and not that of this lane, whose time stands still"
        return self.calibration.line if self.calibration else "not calibrated for this run"

    def verdict(self, calls: Sequence["CallResult"]) -> Verdict:
        """That of the run: as bad as its worst call's, and no better than how it ended."""
        counted = [call for call in calls if call.slug not in self.excused]
        return "error" if self.failure else overall(counted)


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """One call, measured and judged."""

    evidence: CallEvidence
    measured: Measured
    judged: list[Judged]
    verdict: Verdict
    detail: str

    @property
    def slug(self) -> str:
        """The name of the call's directory."""
        info = self.evidence.info
        return info.stage or (info.name if info.repeat == 1 else f"{info.name}-{info.repeat}")


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
    verdict, detail = _verdict(evidence.info.verdict, evidence.info.detail, judged)
    return CallResult(
        evidence=evidence, measured=measured, judged=judged, verdict=verdict, detail=detail
    )


def limits_of(info: CallInfo) -> Limits:
    """What a call is held to: the default budget with its own limits over it.

    A bare recording is held to its own alone: the defaults are for calls that were set up.
    """
    return parse_limits(info.limits) if info.lane == "recording" else limits_for(info.limits)


def unmeasured_call(info: CallInfo) -> CallResult:
    """A call of which nothing can be read or measured, with the verdict that is in `info`."""
    return CallResult(
        evidence=CallEvidence(info=info, marks=[]),
        measured=nothing_measured(),
        judged=[],
        verdict=info.verdict,
        detail=info.detail,
    )


def under_info(call: CallResult, info: CallInfo) -> CallResult:
    """The same numbers, where more is known of the call than when it was measured.

    `info` differs from the call's own in verdict, detail and log only.
    """
    verdict, detail = _verdict(info.verdict, info.detail, call.judged)
    evidence = replace(call.evidence, info=info)
    return replace(call, evidence=evidence, verdict=verdict, detail=detail)


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
        values = [one for position in positions for one in calls[position].judged]
        found = judge_percentiles(values, limits_of(last.evidence.info))
        if found:
            single = [one for one in last.judged if one.statistic is None]
            verdict, detail = _verdict(last.verdict, last.detail, found)
            together[positions[-1]] = replace(
                last, judged=[*single, *found], verdict=verdict, detail=detail
            )
    return together


def _verdict(verdict: Verdict, detail: str, judged: Sequence[Judged]) -> tuple[Verdict, str]:
    """A verdict and its reason, in view of what is over its limit."""
    beyond = [one for one in judged if one.verdict == "failed"]
    if verdict != "passed" or not beyond:
        return verdict, detail
    return "failed", "over budget: " + "; ".join(describe(one) for one in beyond)


def describe(one: Judged) -> str:
    """A judged number as a phrase: `turn_ms of turn 2 is 812.0 ms, limit 640.0 ms`."""
    what = f"{one.name} {one.statistic} {one.detail}" if one.statistic else one.name
    where = f" of turn {one.turn}" if one.turn is not None else ""
    limit = f", limit {one.limit:.1f} {one.unit}" if one.limit is not None else ""
    return f"{what}{where} is {one.value:.1f} {one.unit}{limit}"


def summarise(calls: Sequence[CallResult]) -> list[Summary]:
    """Every metric over all calls, in the order of the budget."""
    return summary_of(one for call in calls for one in call.judged)


def overall(calls: Sequence[CallResult]) -> Verdict:
    """As bad as the worst call's; a run of no calls could not run."""
    verdicts = {call.verdict for call in calls}
    if not verdicts or "error" in verdicts:
        return "error"
    return "failed" if "failed" in verdicts else "passed"


def results(info: RunInfo, calls: Sequence[CallResult]) -> dict[str, Any]:
    """The contents of `results.json` (`results.schema.json` describes it)."""
    return {
        "version": VERSION,
        "run": {
            "started_at": info.started_at,
            "command": info.command,
            "lane": info.lane,
            "commit": info.commit,
            "seed": info.seed,
            "concurrency": info.concurrency,
            "duration_s": info.duration_s,
            "verdict": info.verdict(calls),
            "failure": info.failure,
            "excused": list(info.excused),
            "calibration": None if info.calibration is None else to_data(info.calibration),
            "environment": info.environment,
        },
        "summary": [
            {
                "name": s.name,
                "unit": s.unit,
                "count": s.count,
                "p50": _round(s.p50),
                "p95": _round(s.p95),
                "p99": _round(s.p99),
                "max": _round(s.max),
                "min": _round(s.min),
                "limit": _round(s.limit),
                "margin": _round(s.margin),
                "low": s.low and [_round(bound) for bound in s.low],
                "high": s.high and [_round(bound) for bound in s.high],
                "unlimited": s.unlimited,
                "failed": s.failed,
                "undecided": s.undecided,
            }
            for s in summarise(calls)
        ],
        "scenarios": [_scenario(call) for call in calls],
    }


def to_json(data: dict[str, Any]) -> bytes:
    """As it stands in the file."""
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def _scenario(call: CallResult) -> dict[str, Any]:
    info = call.evidence.info
    folder = f"calls/{call.slug}"
    return {
        "name": info.name,
        "repeat": info.repeat,
        "lane": info.lane,
        "verdict": call.verdict,
        "detail": call.detail,
        "seed": info.seed,
        "metrics": [_metric(one) for one in call.judged],
        "not_measured": [
            {"name": one.name, "turn": one.turn, "reason": one.reason}
            for one in call.measured.unmeasured
        ],
        "turns": [
            {
                "turn": turn.number,
                "text": turn.text,
                "turn_ms": _round(turn.turn_ms),
                "own_ms": _round(turn.own_ms),
                "hops": [
                    {"name": hop.name, "length_ms": _round(hop.length_ms), "party": hop.party}
                    for hop in turn.hops
                ],
            }
            for turn in call.measured.turns
        ],
        "artifacts": {
            "page": f"{folder}/call.html",
            "timeline": f"{folder}/timeline.jsonl",
            "recording": f"{folder}/{call.evidence.recording_file}"
            if call.evidence.recorded
            else None,
        },
    }


def _metric(one: Judged) -> dict[str, Any]:
    metric: dict[str, Any] = {
        "name": one.name,
        "turn": one.turn,
        "value": _round(one.value),
        "unit": one.unit,
        "limit": _round(one.limit),
        "margin": _round(one.margin),
        "verdict": one.verdict,
        "held": one.held,
    }
    optional = {
        "statistic": one.statistic,
        "own_ms": _round(one.own_ms),
        "bound": None if one.bound is None else _round(one.bound.size),
        "bound_from": None if one.bound is None else one.bound.source,
        "detail": one.detail or None,
    }
    return metric | {key: value for key, value in optional.items() if value is not None}


def _round(value: float | None) -> float | None:
    """Microseconds are more than these measurements are worth."""
    return None if value is None else round(value, 3)
