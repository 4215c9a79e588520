"""`results.json`: a run's verdicts and numbers, for programs. Its shape is versioned."""

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from callerside.reports.metrics.machine_time import MachineTime
from callerside.reports.metrics.measurement import Taken
from callerside.reports.metrics.turn_path import Hop
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.calibration import Calibration, to_data
from callerside.reports.verdict.call_result import CallResult, Part
from callerside.reports.verdict.outcome import Outcome, called, outcome_of
from callerside.reports.verdict.summary import Certainty, Summary, certainty_of, summary_of

RESULTS = "results.json"
VERSION = 2
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
    strict: bool = False
    """Whether a call that is flaky or was not measured decides as well."""

    @property
    def harness_error(self) -> str:
        """How true the numbers are, in a line."""
        if self.lane == "virtual":
            return "calibrated over SIP, and not that of this lane, whose time stands still"
        return self.calibration.line if self.calibration else "not calibrated for this run"

    def outcome(self, calls: Sequence[CallResult]) -> Outcome:
        """What the calls of the run come to."""
        return outcome_of(calls, failure=self.failure, strict=self.strict)


def summarise(calls: Sequence[CallResult]) -> list[Summary]:
    """Every metric over all calls, in the order of the budget."""
    return summary_of(one for call in calls for one in call.judged)


def certainty(calls: Sequence[CallResult]) -> Certainty:
    """How exactly the values of all calls are known."""
    return certainty_of(one for call in calls for one in call.judged)


def results(
    info: RunInfo, calls: Sequence[CallResult], pages: Container[str] | None = None
) -> dict[str, Any]:
    """The contents of `results.json` (`results.schema.json` describes it).

    `pages` are the slugs of the calls that have a page; by default all.
    """
    outcome = info.outcome(calls)
    known = certainty(calls)
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
            "verdict": outcome.verdict,
            "why": list(outcome.why),
            "failure": info.failure,
            "strict": info.strict,
            "calibration": None if info.calibration is None else to_data(info.calibration),
            "environment": info.environment,
            "limits": known.limits,
            "undecided": known.undecided,
            "median_bound_ms": _round(known.median_bound_ms),
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
        "scenarios": [_scenario(call, pages) for call in calls],
    }


def to_json(data: dict[str, Any]) -> bytes:
    """As it stands in the file."""
    # `json` indents in Python, a tenth of a second for a library's run; and it alone refuses NaN.
    return msgspec.json.format(json.dumps(data, allow_nan=False).encode(), indent=2) + b"\n"


def _scenario(call: CallResult, pages: Container[str] | None) -> dict[str, Any]:
    info = call.evidence.info
    machine = MachineTime(call.evidence.marks)
    folder = f"calls/{call.slug}"
    has_page = pages is None or call.slug in pages
    return {
        "name": info.name,
        "repeat": info.repeat,
        "lane": info.lane,
        "verdict": called(call),
        "detail": call.detail,
        "warnings": call.warnings,
        "behaviour": _part(call.behaviour),
        "timing": _part(call.timing),
        "known_failure": _known(call),
        "attempts": list(_attempts(call, folder, has_page=has_page)),
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
                "hops": [_hop(hop, machine.of_hop(hop)) for hop in turn.hops],
            }
            for turn in call.measured.turns
        ],
        "artifacts": {
            "page": f"{folder}/call.html" if has_page else None,
            "timeline": f"{folder}/timeline.jsonl",
            "recording": f"{folder}/{call.evidence.recording_file}"
            if call.evidence.recorded
            else None,
        },
    }


def _hop(hop: Hop, taken: Taken) -> dict[str, Any]:
    said = {"name": hop.name, "length_ms": _round(hop.length_ms), "party": hop.party}
    return said | ({"machine_ms": _taken(taken)} if taken else {})


def _part(part: Part) -> dict[str, Any]:
    return {"verdict": part.verdict, "detail": part.detail}


def _known(call: CallResult) -> dict[str, Any] | None:
    known = call.evidence.info.known_failure
    if known is None:
        return None
    return {"reason": known.reason, "until": known.until.isoformat(), "over": known.over}


def _attempts(call: CallResult, folder: str, *, has_page: bool) -> Iterator[dict[str, Any]]:
    for attempt in call.attempts:
        inner = "" if attempt is call else f"/{attempt.folder}"
        yield {
            "behaviour": _part(attempt.behaviour),
            "timing": _part(attempt.timing),
            "page": f"{folder}{inner}/call.html" if has_page else None,
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
        "reason": one.reason,
        "own_ms": _round(one.own_ms),
        "bound": None if one.bound is None else _round(one.bound.size),
        "bound_from": None if one.bound is None else one.bound.source,
        "detail": one.detail or None,
        "as_measured": _round(one.as_measured) if one.taken else None,
        "machine_ms": _taken(one.taken) if one.taken else None,
        "packet_ms": _round(one.packet_ms),
    }
    return metric | {key: value for key, value in optional.items() if value is not None}


def _taken(taken: Taken) -> list[float | None]:
    """What the machine took, at least and at most."""
    return [_round(taken.least_ms), _round(taken.most_ms)]


def _round(value: float | None) -> float | None:
    """Microseconds are more than these measurements are worth."""
    return None if value is None else round(value, 3)
