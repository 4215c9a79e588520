"""Limits and verdicts."""

from dataclasses import replace

import pytest

from callerside.reports.metrics.measurement import ErrorBound, Measurement
from callerside.reports.verdict.budget import (
    BudgetError,
    Judged,
    default_limits,
    judge,
    judge_percentiles,
    limits_for,
    parse_limits,
)
from callerside.reports.verdict.calibration import Calibration, MetricError
from callerside.reports.verdict.summary import certainty_of, summary_of


def only(measurement: Measurement, spec: object, calibration: Calibration | None = None) -> Judged:
    limits = parse_limits({measurement.name: spec})
    (judged,) = judge([measurement], limits, calibration=calibration)
    return judged


def calibrated(p95: float, bias: float = 0) -> Calibration:
    error = MetricError(
        name="turn_ms", unit="ms", count=9, bias=bias, p50=p95 / 2, p95=p95, p99=p95
    )
    return Calibration(
        measured_at="", machine="", calls=9, concurrency=4, metrics=(error,), path_ms={}
    )


@pytest.mark.parametrize(
    ("value", "spec", "verdict", "limit", "margin"),
    [
        (100, {"max": 500}, "passed", 500, 400),
        (500, {"max": 500}, "passed", 500, 0),
        (500.1, {"max": 500}, "failed", 500, -0.1),
        (442, {"target": 440, "within": 5}, "passed", 445, 3),
        (434, {"target": 440, "within": 5}, "failed", 435, -1),
        (7, {"min": 5, "max": 100}, "passed", 5, 2),
        (3, {"min": 5}, "failed", 5, -2),
        (3, "off", "unlimited", None, None),
    ],
)
def test_a_value_against_a_limit(
    value: float, spec: object, verdict: str, limit: float | None, margin: float | None
) -> None:
    judged = only(Measurement(name="beep_hz", value=value), spec)
    assert judged.verdict == verdict
    assert judged.limit == limit
    assert judged.margin == (None if margin is None else pytest.approx(margin))


def test_of_intelligibility_a_limit_is_the_least_that_may_be() -> None:
    values = [99.0, 98.0, 97.0, 80.0]
    heard = [Measurement(name="intelligibility", value=one) for one in values]
    spec = {"intelligibility": 90}
    judged = judge(heard, parse_limits(spec))
    assert [one.verdict for one in judged] == ["passed", "passed", "passed", "failed"]
    assert [one.margin for one in judged] == [9, 8, 7, -10]
    percentiles = parse_limits({"intelligibility": {"p50": 98, "p95": 85}})
    assert [(one.value, one.verdict) for one in judge_percentiles(judged, percentiles)] == [
        (98, "passed"),
        (80, "failed"),
    ]
    (told,) = summary_of(judged)
    assert (told.p50, told.p95, told.worst, told.limits) == (98, 80, 80, "≥ 90.0")


def test_how_exactly_values_are_known_is_counted_over_all() -> None:
    near = ErrorBound(10.0, "x")
    measured = [
        Measurement(name="turn_ms", value=95, bound=near),
        Measurement(name="turn_ms", value=50, bound=near),
        Measurement(name="beep_ms", value=5, bound=ErrorBound(1.0, "x")),
        Measurement(name="beep_hz", value=440, bound=ErrorBound(50.0, "x")),
        Measurement(name="false_stops", value=0),
    ]
    known = certainty_of(
        judge(measured, parse_limits({"turn_ms": 100, "beep_hz": {"min": 0, "max": 5000}}))
    )
    assert (known.limits, known.undecided, known.median_bound_ms) == (3, 1, 10.0)
    told = "Of 3 limits 1 is undecided; half of the error bounds are within 10.0 ms"
    assert str(known) == told
    assert str(replace(certainty_of([]), limits=1)) == "Of 1 limit 0 are undecided"
    assert str(certainty_of([])) == "Of 0 limits 0 are undecided"


def test_a_limit_on_top_of_the_servers_own_delay() -> None:
    judged = only(Measurement(name="turn_ms", value=870, own_ms=820), {"above_own": 40})
    assert (judged.limit, judged.verdict) == (860, "failed")


def test_without_the_servers_delay_such_a_limit_does_not_apply() -> None:
    judged = only(Measurement(name="turn_ms", value=870), {"above_own": 40})
    assert judged.verdict == "unlimited"


def test_percentiles_are_judged_over_the_values_of_all_calls() -> None:
    limits = parse_limits({"turn_ms": {"p50": 20, "p95": 25, "max": 100}})
    calls = [
        judge([Measurement(name="turn_ms", value=value) for value in values], limits)
        for values in ((10, 20), (30,))
    ]
    assert [j.verdict for call in calls for j in call] == ["passed"] * 3
    percentiles = judge_percentiles([one for call in calls for one in call], limits)
    assert [(j.statistic, j.value, j.verdict, j.detail) for j in percentiles] == [
        ("p50", 20, "passed", "of 3 values"),
        ("p95", 30, "failed", "of 3 values"),
    ]
    assert judge_percentiles([], limits) == []


def test_percentiles_of_one_kind_of_a_metric_are_its_own() -> None:
    limits = parse_limits({"greeting_ms": {"cached": {"p50": 600}}})
    greetings = [("cached", 590), ("cached", 595), ("generated", 3000)]
    values = [Measurement(name="greeting_ms", value=v, variant=kind) for kind, v in greetings]
    (one,) = judge_percentiles(judge(values, limits), limits)
    assert (one.value, one.verdict, one.detail) == (590, "passed", "of 2 values (cached)")


def test_a_greeting_has_a_limit_by_its_origin() -> None:
    cached = Measurement(name="greeting_ms", value=900, variant="cached")
    generated = Measurement(name="greeting_ms", value=900, variant="generated")
    assert [j.verdict for j in judge([cached, generated], default_limits())] == [
        "failed",
        "passed",
    ]


@pytest.mark.parametrize(
    ("value", "size", "how"),
    [
        (495, 4, "within"),
        (495, 5, "within"),
        (495, 5.1, "undecided"),
        (505, 5.1, "undecided"),
        (505, 5, "undecided"),
        (505, 4.9, "over"),
        (500, 0, "within"),
        (500.1, 0, "over"),
    ],
)
def test_a_limit_within_the_error_bound_leaves_it_undecided(
    value: float, size: float, how: str
) -> None:
    measurement = Measurement(name="turn_ms", value=value, bound=ErrorBound(size, "here"))
    assert only(measurement, 500).held == how
    bias = only(replace(measurement, value=value + 2), 500, calibrated(1, bias=2))
    assert bias.held == how


def test_a_number_without_a_limit_is_held_to_nothing() -> None:
    unlimited = judge([Measurement(name="turn_ms", value=1, bound=ErrorBound(1, ""))], {})
    assert [one.held for one in unlimited] == [None]


def test_a_target_is_undecided_near_either_end() -> None:
    spec = {"target": 440, "within": 5}
    for value, how in ((440, "within"), (435.2, "undecided"), (444.8, "undecided"), (446, "over")):
        measurement = Measurement(name="beep_hz", value=value, bound=ErrorBound(0.5, "here"))
        assert only(measurement, spec).held == how, value


def test_what_is_held_to_the_servers_own_delay_may_be_off_by_the_error_of_that_too() -> None:
    measurement = Measurement(
        name="turn_ms",
        value=855,
        own_ms=820,
        bound=ErrorBound(1, "the ear"),
        own_bound=ErrorBound(20, "an append"),
    )
    judged = only(measurement, {"above_own": 40})
    assert judged.held == "undecided"
    assert judged.bound == ErrorBound(21, "the ear; an append")
    assert only(measurement, 860).held == "within"


def test_a_percentile_may_be_off_as_far_as_its_values() -> None:
    limits = limits_for({"turn_ms": {"p95": 800}})
    sizes = (1.0, 30.0, 2.0)
    values = [
        Measurement(name="turn_ms", value=value, bound=ErrorBound(size, "here"))
        for value, size in zip((700, 780, 790), sizes, strict=True)
    ]
    judged = judge_percentiles(judge(values, limits), limits)
    assert [(one.value, one.bound, one.held) for one in judged] == [
        (790, ErrorBound(20.0, "here"), "undecided")
    ]


def test_a_known_bias_is_taken_off_and_said() -> None:
    judged = only(Measurement(name="turn_ms", value=503), 500, calibrated(1, bias=4.5))
    assert (judged.value, judged.verdict) == (498.5, "passed")
    assert "bias of +4.5 ms" in judged.detail
    small = only(Measurement(name="turn_ms", value=503), 500, calibrated(1, bias=0.4))
    assert (small.value, small.detail) == (503, "")


def test_a_limit_of_nothing_is_a_limit() -> None:
    lost = Measurement(name="rtp_lost", value=1)
    assert [one.verdict for one in judge([lost], limits_for({"rtp_lost": 0}))] == ["failed"]
    assert [one.verdict for one in judge([lost], limits_for({"rtp_lost": False}))] == ["unlimited"]


def test_a_scenario_replaces_single_limits() -> None:
    limits = limits_for({"turn_ms": 2000, "gap_ms": "off"})
    assert limits["turn_ms"].high == 2000
    assert limits["turn_ms"].above_own is None
    assert "gap_ms" not in limits
    assert limits["answer_ms"] == default_limits()["answer_ms"]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"turn": 5}, "no metric is called 'turn'; did you mean turn_ms"),
        ({"turn_ms": "fast"}, "turn_ms: 'fast', expected a number"),
        ({"turn_ms": {}}, "expected a number"),
        ({"turn_ms": True}, "expected a number"),
        ({"turn_ms": {"p90": 3}}, "no limit is called 'p90'; did you mean p99"),
        ({"turn_ms": {"max": "3"}}, "turn_ms: max: '3', expected a number"),
        ({"beep_hz": {"target": 440}}, "target and within belong together"),
        ({"greeting_ms": {"cached": "x"}}, "greeting_ms: 'x'"),
        ({"turn_ms": {"cached": 5}}, "turn_ms: no limit is called 'cached'"),
        ({"greeting_ms": {"cached": {"cached": 5}}}, "greeting_ms: no limit is called 'cached'"),
        ({"gap_ms": {"above_own": 5}}, "gap_ms: no limit is called 'above_own'"),
        ({"gap_ms": {"min": 9, "max": 5}}, "no number is at least 9 and at most 5"),
        ({"beep_hz": {"target": 9, "within": -1}}, "no number is at least 10 and at most 8"),
        ({"beep_hz": {"target": 9, "within": 1, "max": 9}}, "either target and within, or min"),
        ({"gap_ms": float("inf")}, "gap_ms: inf, expected a number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_in_words(
    spec: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BudgetError, match=complaint.replace("'", ".")):
        parse_limits(spec)


def test_a_limit_of_one_variant_leaves_the_default_of_the_others() -> None:
    limits = limits_for({"greeting_ms": {"cached": 500}})
    cached = Measurement(name="greeting_ms", value=600, variant="cached")
    generated = Measurement(name="greeting_ms", value=3600, variant="generated")
    verdicts = [(one.verdict, one.high) for one in judge([cached, generated], limits)]
    assert verdicts == [("failed", 500), ("failed", 3500)]
    lifted = limits_for({"greeting_ms": {"cached": "off"}})
    assert [one.verdict for one in judge([cached, generated], lifted)] == ["unlimited", "failed"]


def test_a_bare_number_of_an_error_holds_on_either_side() -> None:
    limit = parse_limits({"heard_error_ms": 40})["heard_error_ms"]
    assert (limit.low, limit.high) == (-40, 40)


@pytest.mark.parametrize(
    "limit", [{"beep_hz": 450}, {"beep_length_ms": 500}, {"heard_error_ms": -40}]
)
def test_a_bare_number_of_what_may_be_missed_on_either_side_is_refused(
    limit: dict[str, float],
) -> None:
    with pytest.raises(BudgetError, match="says nothing of the other side"):
        parse_limits(limit)
