"""What a machine that stands still excuses, and what it does not."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo, Verdict
from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.results import CallResult, RunInfo, judge_call
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.runner.confidence import (
    as_unmeasured,
    disturbance,
    is_unmeasured,
    is_worth_retrying,
)
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.run import Run


def mark(name: str, **fields: float) -> Mark:
    return Mark(at_ns=1, source="caller", call="a", name=name, fields=fields)


def stalled(*lengths_ms: float, apart_ms: int = 1_000) -> list[Mark]:
    """Stalls that end so far apart."""
    return [
        structs.replace(
            mark("machine_stalled", late_ms=late_ms, cpu=0), at_ns=number * apart_ms * 1_000_000
        )
        for number, late_ms in enumerate(lengths_ms, 1)
    ]


def over_budget(by_ms: float, unit: str = "ms", name: str = "turn_ms") -> Judged:
    return Judged(name=name, value=1.0, unit=unit, verdict="failed", margin=-by_ms)


def failed(marks: list[Mark], *beyond: Judged, scripted: Verdict = "passed") -> Evaluated:
    """A failed call: over its budget, or (`scripted` is "failed") otherwise than scripted."""
    evidence = CallEvidence(info=CallInfo(name="a", verdict=scripted), marks=marks)
    result = replace(judge_call(evidence), judged=list(beyond), verdict="failed")
    # The plan is only carried along.
    planned = PlannedCall(name="a", scenario=None, seed=1, greeting_cache="a")  # type: ignore[arg-type]
    return Evaluated(
        planned=planned, verdict="failed", sentence="too late", took_s=1.0, result=result
    )


@pytest.mark.parametrize(
    ("marks", "by_ms", "disturbed"),
    [
        pytest.param([], 1, False, id="a machine that kept time excuses nothing"),
        pytest.param([mark("scheduling_lag", worst_ms=9)], 1, False, id="nor does a usual lag"),
        pytest.param(stalled(5), 44, True, id="its length and a frame each way"),
        pytest.param(stalled(5), 46, False, id="no more than that"),
        pytest.param(stalled(5, 30), 74, True, id="stalls add up"),
        pytest.param(stalled(5, 30, apart_ms=0), 74, False, id="but not of the same time"),
        pytest.param([mark("scheduling_lag", worst_ms=25)], 64, True, id="the harness was late"),
        pytest.param([mark("scheduling_lag", worst_ms=25)], 66, False, id="but not so late"),
    ],
)
def test_a_stall_excuses_what_it_explains(marks: list[Mark], by_ms: float, disturbed: bool) -> None:
    assert is_worth_retrying(failed(marks, over_budget(by_ms))) is disturbed


def test_every_number_that_is_beyond_must_be_explained() -> None:
    assert not is_worth_retrying(failed(stalled(5), over_budget(10), over_budget(100)))


OTHERWISE = [
    pytest.param((), "failed", id="another call than scripted"),
    pytest.param((over_budget(20, unit="Hz", name="beep_hz"),), "passed", id="a wrong tone"),
    pytest.param((over_budget(1),), "failed", id="late as well"),
]


@pytest.mark.parametrize(("beyond", "scripted"), OTHERWISE)
@pytest.mark.parametrize(("late_ms", "disturbed"), [(9.0, False), (11.0, True), (5_000.0, True)])
def test_a_long_stall_gives_a_call_that_went_otherwise_another_chance_and_no_excuse(
    late_ms: float, disturbed: bool, beyond: tuple[Judged, ...], scripted: Verdict
) -> None:
    call = failed(stalled(late_ms), *beyond, scripted=scripted)
    assert is_worth_retrying(call) is disturbed
    assert not is_unmeasured(call)


def test_what_was_only_late_by_what_is_explained_is_not_measured() -> None:
    assert is_unmeasured(failed(stalled(30), over_budget(60)))
    assert not is_unmeasured(failed(stalled(30), over_budget(80)))


@pytest.mark.parametrize("marks", [[], stalled(30)])
def test_where_nothing_is_beyond_its_limit_nothing_is_explained(marks: list[Mark]) -> None:
    assert not is_unmeasured(failed(marks))
    assert not is_worth_retrying(failed(marks))


@pytest.mark.parametrize("verdict", ["passed", "error"])
def test_only_failures_are_excused(verdict: Verdict) -> None:
    assert not is_worth_retrying(replace(failed(stalled(50), over_budget(1)), verdict=verdict))


def test_what_cannot_be_vouched_for_is_an_error_that_says_why() -> None:
    call = failed([*stalled(12, 30), mark("scheduling_lag", worst_ms=4)], over_budget(1))
    assert (disturbance(call).worst_ms, disturbance(call).total_ms) == (30, 42)
    judged = as_unmeasured(call, attempts=5)
    assert judged.verdict == "error"
    assert judged.result is not None
    assert judged.result.verdict == "error"
    assert "in each of 5 attempts (for 30 ms at most in the last one, 42 ms in all)" in (
        judged.sentence
    )
    assert judged.sentence.endswith("It was too late")


@pytest.mark.parametrize(
    ("passed", "unmeasured", "excuse", "code"),
    [(4, 0, False, 0), (3, 1, False, 2), (3, 1, True, 0), (2, 2, True, 2)],
)
def test_a_shared_machine_may_be_excused_for_a_quarter_of_the_calls(
    passed: int, unmeasured: int, excuse: bool, code: int
) -> None:
    call = failed(stalled(30), over_budget(1))
    calls = [replace(call, verdict="passed")] * passed + [as_unmeasured(call, 5)] * unmeasured
    run = Run(directory=Path(), started_at=datetime.now(UTC), calls=calls, excuse_machine=excuse)
    assert run.exit_code == code
    assert len(run.excused) == (unmeasured if code == 0 else 0)
    told = RunInfo(started_at="", excused=run.excused).verdict([named(call) for call in calls])
    assert told == ("passed" if code == 0 else "error"), "the page says what the exit code says"


def named(call: Evaluated) -> CallResult:
    """A call's result, under a name of its own where it was not measured."""
    assert call.result is not None
    verdict = call.verdict
    slug = call.result.slug if call.unmeasured else "another"
    evidence = replace(call.result.evidence, info=CallInfo(name=slug))
    return replace(call.result, evidence=evidence, verdict=verdict)


def test_what_was_measured_is_not_excused() -> None:
    call = failed([], over_budget(1))
    calls = [replace(call, verdict="passed")] * 3 + [call]
    run = Run(directory=Path(), started_at=datetime.now(UTC), calls=calls, excuse_machine=True)
    assert run.exit_code == 1
