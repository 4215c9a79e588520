"""From a call that was played to a call that is judged.

The caller's own verdict says whether the call went as scripted; the reports judge the numbers; and
what the scenario expects of other parties' marks is looked up here, when all marks are known.
"""

import logging
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from callerside.atomic_files import write_atomically
from callerside.reports.evidence import (
    INFO,
    CallInfo,
    EvidenceError,
    KnownFailure,
    load_evidence,
)
from callerside.reports.formats.write import write_page
from callerside.reports.metrics.registry import METRICS
from callerside.reports.verdict.budget import BudgetError
from callerside.reports.verdict.calibration_file import kept
from callerside.reports.verdict.call_result import (
    CallResult,
    CallVerdict,
    judge_call,
    under_info,
    unmeasured_call,
)
from callerside.reports.verdict.outcome import called
from callerside.reports.verdict.results import RunInfo
from callerside.simulator.lanes.planned_call import Lane, PlannedCall, PlayedCall
from callerside.simulator.runner.answers import judge_answers
from callerside.simulator.runner.expectations_after import (
    CALLER_ALONE,
    EVERYBODY,
    check,
    unseen,
)
from callerside.simulator.runner.functions import judge_functions
from callerside.simulator.runner.yields import should_yield
from callerside.simulator.scenario import model as scenario_model
from callerside.timelines import TimelineError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A call that was played, measured and judged; `result` is None where nothing can be read."""

    planned: PlannedCall
    sentence: str
    took_s: float
    result: CallResult | None
    has_page: bool = False
    """Whether its page is written, as it is now."""

    @property
    def verdict(self) -> CallVerdict:
        """That of the call."""
        return self.result.verdict if self.result else "error"

    @property
    def called(self) -> str:
        """The same in words: what is known to fail is told as such."""
        return called(self.result) if self.result else "error"


def evaluate(played: PlayedCall, lane: Lane, page_of: RunInfo | None = None) -> Evaluated:
    """Measure and judge a call from what lies in its directory, where `call.json` is written.

    Args:
        played: the call.
        lane: where it was played.
        page_of: the run, if only an outline of the evidence is to be answered: what did not pass,
            or with a warning, has its page written then, as somebody will look at it.
    """
    by_steps = lane != "virtual" or played.planned.scenario.judged_by == "steps"
    try:
        info = call_info(played, lane)
        _write_info(played.directory, info)
        evidence = (
            load_evidence(played.directory)
            if played.evidence is None
            else replace(played.evidence, info=info)
        )
        told = EVERYBODY if played.ours else CALLER_ALONE
        complaints = check(played.planned.scenario, evidence.marks, told=told)
        unusable, warnings = judge_answers(played.planned.scenario, evidence.marks)
        uncallable, doubts = judge_functions(played.planned.scenario, evidence.marks)
        warnings += doubts
        result = judge_call(evidence, kept() if lane == "sip" else None)
        if played.verdict == "passed" and by_steps:
            if complaints := [*complaints, *unusable, *uncallable]:
                played = replace(played, verdict="failed", detail="; ".join(complaints))
        elif played.verdict == "failed" and unusable:  # which may well be why a step is not met
            played = replace(played, detail="; ".join([played.detail, *unusable]))
        info = call_info(played, lane).model_copy(update={"warnings": warnings})
        if info != evidence.info:
            _write_info(played.directory, info)
            result = under_info(result, info)
        has_page = page_of is not None and (result.verdict != "passed" or bool(result.warnings))
        if page_of is not None:
            if has_page:
                write_page(played.directory, page_of, result)
            result = result.outline()
    except Exception as error:  # a bug in the measuring, too, is this call's error and no other's
        _log.debug("%s: not evaluated", played.planned.name, exc_info=True)
        known = isinstance(error, EvidenceError | TimelineError | BudgetError | OSError)
        detail = str(error) if known else f"could not be measured: {type(error).__name__}: {error}"
        detail = f"{detail}; {played.detail}" if played.detail else detail
        return Evaluated(
            planned=played.planned,
            sentence=detail,
            took_s=played.took_s,
            result=None,
        )
    return Evaluated(
        planned=played.planned,
        sentence=result.detail,
        took_s=played.took_s,
        result=result,
        has_page=has_page,
    )


def _known(known: scenario_model.KnownFailure | None) -> KnownFailure | None:
    if known is None:
        return None
    over = date.today() > known.until  # noqa: DTZ011 - a day is where the user is
    return KnownFailure(reason=known.reason, until=known.until, over=over)


def without_evidence(call: Evaluated, lane: Lane) -> CallResult:
    """A call of which nothing can be read, for a report: it counts, as the error that it is."""
    info = CallInfo(
        name=call.planned.scenario.name,
        stage=call.planned.name,
        repeat=call.planned.repeat,
        lane=lane,
        about=call.planned.scenario.about,
        verdict="error",
        detail=call.sentence,
        seed=call.planned.seed,
    )
    return unmeasured_call(info)


def call_info(played: PlayedCall, lane: Lane) -> CallInfo:
    """What is neither in the marks nor in the recording of a call."""
    scenario = played.planned.scenario
    has_limits = scenario.judged_by == "steps"
    detail, *log = played.detail.split("\n")
    return CallInfo(
        name=scenario.name,
        stage=played.planned.name,
        repeat=played.planned.repeat,
        attempt=played.planned.attempt,
        lane=lane,
        about=scenario.about,
        verdict=played.verdict,
        detail=detail,
        limits=scenario.budget if has_limits else dict.fromkeys(METRICS, "off"),
        # On a bad network what is to be measured may be lost, as a beep that is cut to pieces.
        own_limits=scenario.own_limits if has_limits and scenario.network is None else [],
        unchecked=[] if played.ours else unseen(scenario),
        should_yield=should_yield(scenario, ours=played.ours) if has_limits else [],
        goes_on=scenario.goes_on if played.ours else [],
        known_failure=_known(scenario.known_failure),
        connect_delay_ms=scenario.realtime.timing.connect_delay_ms,
        way_ms=scenario.realtime.path.delay,
        way_jitter_ms=scenario.realtime.path.jitter,
        seed=played.planned.seed,
        log=[line.strip() for line in log],
        scenario=scenario.text,
        played=scenario.settings,
    )


def _write_info(directory: Path, info: CallInfo) -> None:
    write_atomically(directory / INFO, info.model_dump_json(indent=2).encode())
