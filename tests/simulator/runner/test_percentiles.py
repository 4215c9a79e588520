"""Percentiles over all calls of a scenario, and whose fault it is when they are not kept."""

from dataclasses import replace
from pathlib import Path

import pytest
from hand_played import scenario

from callerside.clock import ms_to_ns
from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence, CallInfo, Verdict
from callerside.reports.verdict.call_result import judge_call
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.percentiles import evaluate_together
from callerside.simulator.runner.plan import plan

LIMITS = {"answer_ms": {"p50": 100, "p95": 200}}


def mark(at_ms: float, name: str, **fields: object) -> Mark:
    return Mark(at_ns=ms_to_ns(at_ms), source="caller", call="c", name=name, fields=fields)


def calls(
    folder: Path, answers_ms: list[float], lag_ms: float = 1.0, verdict: Verdict = "passed"
) -> list[Evaluated]:
    """One scenario's calls, each answered after so long."""
    one = scenario(folder, f"repeat: {len(answers_ms)}\nsteps: [hang_up]\n")
    done = []
    for planned, answer_ms in zip(plan([one], repeat=None, seed=1), answers_ms, strict=True):
        marks = [
            mark(0, "call_dialed", uri="sip:x"),
            mark(answer_ms, "call_answered", status=200),
            mark(answer_ms + 1, "scheduling_lag", worst_ms=lag_ms),
        ]
        info = CallInfo(name=one.name, stage=planned.name, limits=LIMITS, verdict=verdict)
        result = judge_call(CallEvidence(info=info, marks=marks))
        done.append(
            Evaluated(
                planned=planned,
                sentence=result.detail,
                took_s=1.0,
                result=result,
            )
        )
    return done


def test_no_single_call_is_held_to_a_percentile(tmp_path: Path) -> None:
    assert [call.verdict for call in calls(tmp_path, [50, 900, 60])] == ["passed"] * 3


def test_percentiles_that_are_kept_stand_with_the_last_call(tmp_path: Path) -> None:
    together = evaluate_together(calls(tmp_path, [150, 50, 60]))
    assert [call.verdict for call in together] == ["passed"] * 3
    shown = [
        [one.statistic for one in call.result.judged if one.statistic]
        for call in together
        if call.result
    ]
    assert shown == [[], [], ["p50", "p95"]]


def test_a_percentile_that_is_not_kept_fails_the_last_call(tmp_path: Path) -> None:
    *others, last = evaluate_together(calls(tmp_path, [50, 900, 60]))
    assert [call.verdict for call in others] == ["passed", "passed"]
    assert last.verdict == "failed"
    sentence = "over budget: answer_ms p95 of 3 values is 900.0 ms, limit 200.0 ms"
    assert last.sentence == sentence
    assert last.result is not None
    assert last.result.detail == sentence


@pytest.mark.parametrize(
    ("slowest_ms", "lag_ms", "verdict"),
    [
        pytest.param(269, 30.0, "not measured", id="its length and a frame each way are explained"),
        pytest.param(271, 30.0, "failed", id="and no more"),
        pytest.param(203, 9.0, "failed", id="and nothing by a usual lag"),
    ],
)
def test_a_percentile_that_a_late_harness_explains_is_not_measured(
    tmp_path: Path, slowest_ms: float, lag_ms: float, verdict: str
) -> None:
    *_, last = evaluate_together(calls(tmp_path, [50, slowest_ms, 60], lag_ms))
    assert last.verdict == verdict
    told = "not measured: answer_ms p95 of 3 values is 269.0 ms, limit 200.0 ms (the machine stood "
    assert last.sentence.startswith(told) == (verdict == "not measured")


def test_a_page_is_as_it_was_unless_percentiles_came_to_it(tmp_path: Path) -> None:
    for slowest_ms in (150.0, 900.0):
        answers_ms = [50.0, slowest_ms, 60.0]
        done = [replace(call, has_page=True) for call in calls(tmp_path, answers_ms)]
        assert [call.has_page for call in evaluate_together(done)] == [True, True, False]


def test_a_call_that_failed_before_keeps_its_reason(tmp_path: Path) -> None:
    *_, last = evaluate_together(calls(tmp_path, [50, 900, 60], verdict="failed"))
    assert (last.verdict, last.sentence) == ("failed", "")
