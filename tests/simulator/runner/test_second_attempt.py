"""Which calls are worth a second attempt: what the machine did must explain what was missing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hand_played import scenario

from callerside.clock import ms_to_ns
from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence, CallInfo, Verdict
from callerside.reports.verdict.call_result import judge_call, under_info
from callerside.simulator.lanes.planned_call import PlannedCall
from callerside.simulator.runner.evaluate import Evaluated
from callerside.simulator.runner.second_attempt import is_worth_an_attempt

LATE = "step 2: expected reply within 3 s, but it came after {}; heard since the answer: speech"
NOTHING = "step 2: expected reply within 3 s, but heard since the answer: nothing"


def mark(at_ms: float, name: str, /, source: Source = "caller", **fields: Any) -> Mark:
    return Mark(at_ns=ms_to_ns(at_ms), source=source, call="a", name=name, fields=fields)


def stall(end_ms: float, late_ms: float) -> Mark:
    return mark(end_ms, "machine_stalled", late_ms=late_ms, cpu=0, process="")


def call(
    folder: Path,
    stalls: list[Mark],
    *,
    detail: str = NOTHING,
    spoken_ms: float | None = None,
    verdict: Verdict = "failed",
    step: str = "{expect: reply, within: 3s}",
    more: list[Mark] | None = None,
    limits: dict[str, Any] | None = None,
) -> Evaluated:
    """A question that ends at 2 s, and the step that expects its answer from there to 5.1 s."""
    played = scenario(folder, f"steps: [{{say: Hello}}, {step}, hang_up]")
    end_ms = 5100 if spoken_ms is None else spoken_ms + 20
    marks = [
        mark(0, "call_dialed", uri="sip:x"),
        mark(600, "call_answered", status=200),
        mark(1000, "utterance_started", turn=1, text="Hello"),
        mark(2000, "utterance_ended", turn=1),
        mark(2000, "step_started", step=1, kind="expect", text="expect reply"),
        *([] if spoken_ms is None else [mark(spoken_ms, "speech_heard")]),
        mark(end_ms, "step_ended", step=1, ok=False, detail=detail),
        *(more or []),
        *stalls,
    ]
    info = CallInfo(name="a", verdict=verdict, detail=detail, limits=limits or {})
    evidence = CallEvidence(info=info, marks=sorted(marks, key=lambda one: one.at_ns))
    planned = PlannedCall(name="a", scenario=played, seed=1, greeting_cache="a")
    result = judge_call(evidence)
    return Evaluated(planned=planned, sentence=result.detail, took_s=1.0, result=result)


@pytest.mark.parametrize(
    ("stalls", "worth"),
    [
        pytest.param([], False, id="a machine that kept time"),
        pytest.param([stall(4000, 17)], False, id="3 s are not explained by 17 ms"),
        pytest.param([stall(5000, 2900)], False, id="nor by less than what is missing"),
        pytest.param([stall(5050, 3020)], True, id="but by as much"),
        pytest.param([stall(3500, 1400), stall(5050, 1500)], False, id="nor by 2,900 in two"),
        pytest.param([stall(3700, 1600), stall(5050, 1300)], False, id="2,900 again"),
        pytest.param([stall(3700, 1650), stall(5090, 1390)], True, id="they add up"),
        pytest.param([stall(1990, 3000)], False, id="not before the step"),
        pytest.param([stall(9000, 3800)], False, id="nor after it"),
        pytest.param([stall(5000, 1500)] * 2, False, id="not twice for the same time"),
    ],
)
def test_what_did_not_come_at_all_needs_stalls_of_the_whole_step(
    tmp_path: Path, stalls: list[Mark], worth: bool
) -> None:
    assert is_worth_an_attempt(call(tmp_path, stalls)) is worth


@pytest.mark.parametrize(("late_ms", "worth"), [(39, False), (40, True), (60, True)])
def test_what_came_late_needs_stalls_as_long_as_it_was_late(
    tmp_path: Path, late_ms: float, worth: bool
) -> None:
    found = call(
        tmp_path, [stall(4000, late_ms)], detail=LATE.format("3.04 s"), spoken_ms=2000 + 3040
    )
    assert is_worth_an_attempt(found) is worth


def test_what_others_should_have_told_is_missing_from_the_turn_on(tmp_path: Path) -> None:
    step = "{expect: {function_call: look_up}, within: 1s}"
    detail = "step 2: expected function call look_up within 1 s, but functions called: none"
    called = mark(6150, "function_called", "realtime", name="look_up", arguments="{}")

    def worth(*stalls: Mark, **more: Any) -> bool:
        return is_worth_an_attempt(call(tmp_path, list(stalls), detail=detail, step=step, **more))

    assert not worth(stall(3000, 40), more=[called])
    assert worth(stall(3000, 60), more=[called])
    assert not worth(stall(900, 60), more=[called]), "before the turn"
    assert not worth(stall(3000, 60)), "it was never called: a second is missing"


@pytest.mark.parametrize(
    "detail",
    [
        "never: reply, and yet it happened, 2 s after the answer",
        "the agent ended the call (200 OK) while the caller was at step 2 (expect reply)",
        "the fault close at response never struck: the call has not come to it",
    ],
)
def test_what_happened_and_must_not_is_believed_whatever_the_machine_did(
    tmp_path: Path, detail: str
) -> None:
    assert not is_worth_an_attempt(call(tmp_path, [stall(5000, 4900)], detail=detail))


def test_a_time_that_was_not_measured_is_measured_once_more(tmp_path: Path) -> None:
    def answered(limit_ms: float, *stalls: Mark) -> Evaluated:
        limits = {"answer_ms": limit_ms}
        return call(tmp_path, list(stalls), verdict="passed", detail="", limits=limits)

    assert answered(700).verdict == "passed"
    assert not is_worth_an_attempt(answered(700, stall(300, 30)))
    assert answered(590).verdict == "failed"
    assert not is_worth_an_attempt(answered(590))
    assert answered(590, stall(300, 30)).verdict == "not measured"
    assert is_worth_an_attempt(answered(590, stall(300, 30)))
    assert answered(500, stall(300, 30)).verdict == "failed", "more than the machine explains"
    assert not is_worth_an_attempt(answered(500, stall(300, 30)))


def test_what_has_nothing_to_be_measured_by_is_not_placed_once_more(tmp_path: Path) -> None:
    played = call(tmp_path, [], verdict="passed", detail="")
    assert played.result is not None
    info = played.result.evidence.info.model_copy(update={"own_limits": ["barge_in_stop_ms"]})
    played = replace(played, result=replace(under_info(played.result, info), judged=[]))
    assert played.verdict == "not measured"
    assert not is_worth_an_attempt(played)
