"""What the calls of a run come to: every way to each verdict and exit code."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic_call import SyntheticCall, TurnTruth

from callerside.reports.verdict.budget import Judged
from callerside.reports.verdict.call_result import CallResult, judge_call
from callerside.reports.verdict.outcome import counted, outcome_of

GOOD = judge_call(SyntheticCall().build())


def with_info(call: CallResult, **info: Any) -> CallResult:
    changed = call.evidence.info.model_copy(update=info)
    return replace(call, evidence=replace(call.evidence, info=changed))


def call(kind: str, name: str = "synthetic") -> CallResult:
    """A call that ends so."""
    if kind == "late":
        late = SyntheticCall(turns=[TurnTruth(downlink_ms=90)])
        return with_info(judge_call(late.build()), name=name)
    if kind == "not measured":
        judged = [
            replace(one, verdict="not measured", reason="machine") if one.margin else one
            for one in GOOD.judged
        ]
        return with_info(replace(GOOD, judged=judged), name=name)
    if kind == "flaky":
        return with_info(replace(GOOD, earlier=(call("failed"),)), name=name)
    return with_info(GOOD, verdict=kind, name=name, detail="" if kind == "passed" else "it went so")


def test_calls_end_as_they_are_called() -> None:
    kinds = ("passed", "failed", "flaky", "not measured", "error")
    assert tuple(call(kind).verdict for kind in kinds) == kinds
    assert call("late").verdict == "failed"
    assert counted([call(kind) for kind in kinds]) == (
        "1 passed, 1 failed, 1 flaky, 1 not measured, 1 error"
    )
    assert counted([]) == "0 passed"


@pytest.mark.parametrize(
    ("kinds", "code", "strict_code"),
    [
        ("passed", 0, 0),
        ("failed", 1, 1),
        ("late", 1, 1),
        ("error", 2, 2),
        ("flaky", 0, 1),
        ("not measured", 2, 2),
        ("", 2, 2),
        ("passed passed passed not_measured", 0, 2),
        ("passed passed not_measured", 2, 2),
        ("passed failed error", 1, 1),
        ("passed failed not_measured not_measured", 1, 1),
        ("passed flaky error", 2, 1),
        ("passed passed flaky not_measured", 0, 1),
    ],
)
def test_exit_codes(kinds: str, code: int, strict_code: int) -> None:
    words = [kinds] if kinds == "not measured" else kinds.split()
    calls = [call(word.replace("_", " ")) for word in words]
    assert outcome_of(calls).exit_code == code
    assert outcome_of(calls, strict=True).exit_code == strict_code


def test_a_run_that_could_not_go_on_says_nothing_of_the_agent() -> None:
    outcome = outcome_of([call("failed")], failure="the agent's process died")
    assert (outcome.exit_code, outcome.why) == (2, ("the agent's process died",))


def test_a_metric_that_these_calls_should_yield_must_be_measured_in_one_of_them() -> None:
    """An agent that beeps no more, in a run in which nobody says so: nothing is beyond a limit."""
    deaf = replace(GOOD, judged=[one for one in GOOD.judged if one.name != "beep_ms"])
    expects = with_info(deaf, should_yield=["beep_ms", "turn_ms"])
    outcome = outcome_of([expects, expects])
    assert outcome.exit_code == 2
    assert outcome.why == ("beep_ms is measured in no call, and these calls should yield it",)
    assert outcome_of([expects, GOOD]).exit_code == 0, "one is enough"
    lifted = with_info(expects, limits={"beep_ms": "off"})
    assert outcome_of([lifted]).exit_code == 0, "it has no limit"


def test_a_metric_that_is_not_measured_anywhere_is_too_little_however_many_calls_are() -> None:
    none = [
        replace(one, verdict="not measured", reason="undecided") if one.name == "turn_ms" else one
        for one in GOOD.judged
    ]
    bent = with_info(replace(GOOD, judged=none), should_yield=["turn_ms"])
    rest = with_info(
        replace(GOOD, judged=[one for one in GOOD.judged if one.name != "turn_ms"]), name="rest"
    )
    assert outcome_of([bent, *[rest] * 9]).exit_code == 2
    assert outcome_of([bent, *[GOOD] * 9]).exit_code == 0


def test_a_value_that_no_limit_of_the_call_fits_is_measured_all_the_same() -> None:
    """Of an agent that is not ours answers are heard; the share of its model is not known."""
    heard = [
        replace(one, verdict="unlimited", high=None) if one.name == "turn_ms" else one
        for one in GOOD.judged
    ]
    theirs = with_info(replace(GOOD, judged=heard), should_yield=["turn_ms"])
    assert "turn_ms" in {one.name for one in heard}
    assert outcome_of([theirs]).exit_code == 0


def test_a_scenarios_own_limit_must_be_held_to_in_one_of_its_calls() -> None:
    """Though nine other scenarios measure it: it would pass whatever its limit is."""
    unheld = with_info(
        replace(GOOD, judged=[one for one in GOOD.judged if one.name != "barge_in_stop_ms"]),
        own_limits=["barge_in_stop_ms"],
        name="own",
    )
    assert unheld.verdict == "not measured"
    assert unheld.detail == (
        "not measured: barge_in_stop_ms has a limit, and nothing to measure it by has happened: "
        "the caller spoke into no answer"
    )
    barge = Judged(name="barge_in_stop_ms", value=1.0, unit="ms", verdict="passed", margin=9.0)
    held = replace(unheld, judged=[*unheld.judged, barge])
    others = [with_info(held, name=str(number)) for number in range(9)]
    outcome = outcome_of([unheld, *others])
    assert outcome.exit_code == 2
    assert outcome.why == (
        (
            "own: barge_in_stop_ms: nothing to measure it by has happened: "
            "the caller spoke into no answer"
        ),
    )
    assert outcome_of([unheld, *others, held]).exit_code == 0


def test_what_a_scenario_expects_and_nobody_could_look_at_does_not_pass() -> None:
    """However many other calls there are: it would pass whatever is expected."""
    expected = "step 3 (expect function_call)"
    blind = with_info(GOOD, unchecked=[expected], name="blind")
    assert (blind.verdict, blind.behaviour.verdict, blind.timing.verdict) == (
        "not measured",
        "not measured",
        "passed",
    )
    assert expected in blind.detail
    for others in ([], [with_info(GOOD, name=str(number)) for number in range(9)]):
        outcome = outcome_of([blind, *others])
        assert outcome.exit_code == 2
        (why,) = outcome.why
        assert expected in why


@pytest.mark.parametrize("verdict", ["failed", "error"])
def test_what_went_wrong_is_told_before_what_nobody_could_look_at(verdict: str) -> None:
    blind = {"unchecked": ["step 3 (expect function_call)"]}
    assert with_info(GOOD, **blind, verdict=verdict, detail="step 1: no").detail == "step 1: no"
    late = with_info(call("late"), **blind)
    assert (late.verdict, outcome_of([late]).exit_code) == ("failed", 1)


OFF = {one.name: "off" for one in GOOD.judged}


@pytest.mark.parametrize(
    ("limits", "verdict"),
    [
        (OFF, "passed"),
        ({**OFF, "turn_ms": 2000}, "not measured"),  # it should have yielded that
        ({"tool_silence_ms": "off"}, "not measured"),  # of which nothing would have come
    ],
)
def test_a_scenario_that_has_taken_its_limits_off_asks_for_behaviour_alone(
    limits: dict[str, Any], verdict: str
) -> None:
    unlimited = [replace(one, verdict="unlimited") for one in GOOD.judged if one.name != "turn_ms"]
    bare = with_info(
        replace(GOOD, judged=unlimited), limits=limits, should_yield=["answer_ms", "turn_ms"]
    )
    assert bare.verdict == verdict
    assert outcome_of([bare]).exit_code == (0 if verdict == "passed" else 2)
    wrong = with_info(bare, verdict="failed", detail="step 1: no")
    assert (wrong.verdict, outcome_of([wrong]).exit_code) == ("failed", 1)


def test_a_call_is_held_to_a_percentile_with_the_others_and_not_told_as_unmeasured() -> None:
    unlimited = [replace(one, verdict="unlimited") for one in GOOD.judged if one.name == "turn_ms"]
    one = with_info(
        replace(GOOD, judged=unlimited),
        limits={"turn_ms": {"p50": 700}},
        own_limits=["turn_ms"],
    )
    assert (one.unheld, one.verdict) == ([], "passed")
    nothing = replace(one, judged=[])
    assert (nothing.unheld, nothing.verdict) == (["turn_ms"], "not measured")


def test_what_is_less_than_its_least_is_told_so() -> None:
    (turn, *_) = [one for one in GOOD.judged if one.name == "turn_ms"]
    low = replace(turn, verdict="failed", value=800.0, limit=1200.0, low=1200.0, margin=-400.0)
    high = replace(low, name="beep_ms", low=None, high=700.0, limit=700.0, turn=None, taken=None)
    detail = replace(GOOD, judged=[low, high]).detail
    assert detail == (
        "over budget: beep_ms is 800.0 ms, limit 700.0 ms; "
        f"below budget: turn_ms of turn {turn.turn} is 800.0 ms, at least 1200.0 ms"
    )


def test_a_value_without_a_limit_holds_nothing() -> None:
    """As where a variant alone is limited, and another one happened."""
    unlimited = [replace(one, verdict="unlimited") for one in GOOD.judged]
    call = with_info(replace(GOOD, judged=unlimited), own_limits=["greeting_ms"])
    assert call.verdict == "not measured"


def test_an_attempt_that_could_not_be_played_is_an_error_whatever_the_first_one_was() -> None:
    second = with_info(GOOD, verdict="error", detail="the caller died")
    assert replace(second, earlier=(call("failed"),)).verdict == "error"


def test_what_is_late_in_the_second_attempt_has_failed() -> None:
    assert replace(call("late"), earlier=(call("failed"),)).verdict == "failed"
    assert replace(call("failed"), earlier=(call("not measured"),)).verdict == "failed"
    assert replace(call("passed"), earlier=(call("not measured"),)).verdict == "passed"


def test_a_limit_on_a_kind_of_a_metric_is_held_by_a_value_of_that_kind() -> None:
    other = with_info(GOOD, limits={"greeting_ms": {"generated": 900}}, own_limits=["greeting_ms"])
    assert {one.variant for one in GOOD.judged if one.name == "greeting_ms"} == {"cached"}
    assert other.verdict == "not measured"
    either = {"greeting_ms": {"generated": 900, "cached": 900}}
    assert with_info(GOOD, limits=either, own_limits=["greeting_ms"]).verdict == "passed"
