"""Two runs beside each other."""

from typing import Any

import numpy as np
import pytest

from callerside.reports.verdict.compare import Change, compare, notes, regressions


def run(name: str, *calls: list[float]) -> dict[str, Any]:
    """A run of one scenario, repeated: the values of its turns in each call."""
    return {
        "scenarios": [
            {
                "name": "talk",
                "metrics": [
                    {"name": name, "turn": turn, "value": value}
                    for turn, value in enumerate(values, start=1)
                ],
            }
            for values in calls
        ]
    }


def only(before: dict[str, Any], after: dict[str, Any], **options: Any) -> Change:
    (change,) = compare(before, after, **options)
    return change


def sample(mean: float, count: int, seed: int, spread: float = 5) -> list[list[float]]:
    return [[v] for v in np.random.default_rng(seed).normal(mean, spread, count)]


def test_a_clear_difference_is_seen_with_its_interval() -> None:
    change = only(run("turn_ms", *sample(800, 20, 1)), run("turn_ms", *sample(830, 20, 2)))
    assert change.difference == pytest.approx(30, abs=5)
    assert change.low < change.difference < change.high
    assert change.low < 30 < change.high
    assert (change.verdict, change.regression, change.by) == ("worse", True, "repeats")


def test_better_is_no_regression() -> None:
    change = only(run("turn_ms", *sample(830, 20, 1)), run("turn_ms", *sample(800, 20, 2)))
    assert (change.verdict, change.regression) == ("better", False)


def test_runs_of_the_same_agent_rarely_differ() -> None:
    """What may be, at either end, is so with 95 %: of a hundred comparisons about ten err."""
    wrong = sum(
        only(
            run("turn_ms", *sample(800, 12, seed)), run("turn_ms", *sample(800, 12, seed + 5000))
        ).verdict
        != "no difference seen"
        for seed in range(100)
    )
    assert wrong <= 15


SPREAD_MS = 17.0
"""Of a think time that jitters by 60 ms."""
MANY = ("answer_ms", "greeting_ms", "turn_ms", "agent_overhead_ms", "uplink_ms", "downlink_ms")


def drawn(rng: np.random.Generator, *, calls: int, turns: int, more_ms: float = 0) -> Any:
    """A run of one scenario in which what a call is slower by, it is in all of its turns."""
    scenarios = []
    for _ in range(calls):
        metrics = []
        for name in MANY:
            slow_ms = rng.uniform(-1, 1) * SPREAD_MS * 3**0.5
            values = 800 + more_ms + slow_ms + rng.normal(0, 1, turns)
            metrics += [
                {"name": name, "turn": turn, "value": value}
                for turn, value in enumerate(values, start=1)
            ]
        scenarios.append({"name": "talk", "metrics": metrics})
    return {"scenarios": scenarios}


@pytest.mark.parametrize("calls", [2, 3, 5])
@pytest.mark.parametrize("turns", [1, 4])
def test_noise_is_a_regression_in_one_of_twenty_comparisons(calls: int, turns: int) -> None:
    """Of all metrics together; turns of one call are no proof of anything by their number."""
    rng = np.random.default_rng(calls * 10 + turns)
    count = 150
    cried = sum(
        bool(
            regressions(
                compare(drawn(rng, calls=calls, turns=turns), drawn(rng, calls=calls, turns=turns))
            )
        )
        for _ in range(count)
    )
    assert cried <= 0.09 * count


@pytest.mark.parametrize(("spread", "least"), [(5.0, 1.0), (SPREAD_MS, 0.7)])
def test_thirty_milliseconds_are_found_with_five_calls(spread: float, least: float) -> None:
    found = [
        only(
            run("turn_ms", *sample(800, 5, seed, spread)),
            run("turn_ms", *sample(830, 5, seed + 5000, spread)),
        ).regression
        for seed in range(100)
    ]
    assert sum(found) >= least * len(found)


def test_an_interval_holds_the_true_difference_nine_times_of_ten() -> None:
    """With two calls each, too, of which no interval can be made of what was seen alone."""
    held = 0
    for seed in range(300):
        change = only(
            run("turn_ms", *sample(800, 2, seed)), run("turn_ms", *sample(820, 2, seed + 5000))
        )
        held += change.low <= 20 <= change.high
    assert 0.87 <= held / 300 <= 0.97


def test_worse_within_the_tolerance_is_no_regression() -> None:
    before, after = run("turn_ms", *sample(800, 30, 1, 1)), run("turn_ms", *sample(803, 30, 2, 1))
    assert only(before, after).verdict == "worse"
    assert not only(before, after, tolerance=5).regression
    assert only(before, after, tolerance=1).regression
    assert only(before, after, tolerance=50, tolerances={"turn_ms": 1}).regression


def test_the_defaults_find_fifteen_milliseconds_and_pass_over_four() -> None:
    """Of one value a turn in sixty scenarios, as in a run of the library."""

    def library(mean: float, seed: int) -> dict[str, Any]:
        scenarios = []
        for number, (value,) in enumerate(sample(mean, 60, seed)):
            metrics = [{"name": "turn_ms", "turn": 1, "value": value + 20 * number}]
            scenarios.append({"name": f"scenario{number}", "metrics": metrics})
        return {"scenarios": scenarios}

    found = [only(library(800, 1), library(800 + more, 2)) for more in (0, 4, 15)]
    assert [change.regression for change in found] == [False, False, True]
    assert found[1].verdict == "worse"


def test_what_befell_the_harness_is_no_regression_of_the_agent() -> None:
    before, after = run("harness_lag_ms", *sample(10, 9, 1)), run("harness_lag_ms", [90], [91])
    assert (only(before, after).verdict, only(before, after).regression) == ("worse", False)
    assert only(before, after).tolerance is None
    assert only(before, after, tolerances={"harness_lag_ms": 20}).regression


def test_a_regression_is_more_than_the_harness_may_err() -> None:
    calibration = {"metrics": [{"name": "turn_ms", "p95": 25.0}]}
    before, after = run("turn_ms", *sample(800, 20, 1)), run("turn_ms", *sample(820, 20, 2))
    assert only(before, after).regression
    for one, other in ((calibration, None), (None, calibration)):
        told = (
            {**results, "run": {"lane": "sip", "calibration": c}}
            for results, c in ((before, one), (after, other))
        )
        change = only(*told)
        assert (change.verdict, change.tolerance, change.regression) == ("worse", 25.0, False)
    virtual = {"lane": "virtual", "calibration": calibration}
    assert only({**before, "run": virtual}, {**after, "run": virtual}).regression


def test_a_target_is_missed_on_either_side() -> None:
    change = only(run("beep_hz", [440.0], [440.2]), run("beep_hz", [430.0], [430.2]))
    assert (change.verdict, change.regression) == ("worse", True)
    assert change.difference == pytest.approx(9.8, abs=0.1)
    assert only(run("heard_error_ms", [-30], [-32]), run("heard_error_ms", [5], [4])).verdict == (
        "better"
    )


def test_of_intelligibility_more_is_better() -> None:
    change = only(run("intelligibility", [99.0], [99.2]), run("intelligibility", [80.0], [80.2]))
    assert (change.verdict, change.regression) == ("worse", True)
    assert (change.before, change.after) == pytest.approx((99.1, 80.1))
    assert change.difference == pytest.approx(19)


def test_without_repeats_scenarios_tell_how_much_calls_differ() -> None:
    def library(*more: float) -> dict[str, Any]:
        return {
            "scenarios": [
                {
                    "name": f"talk{number}",
                    "metrics": [{"name": "turn_ms", "turn": 1, "value": 800 + 20 * number + one}],
                }
                for number, one in enumerate(more)
            ]
        }

    change = only(library(0, 0, 0), library(30, 31, 32))
    assert (change.by, change.verdict) == ("scenarios", "worse")


def test_the_turns_of_one_call_are_one() -> None:
    change = only(run("turn_ms", [800, 820, 790]), run("turn_ms", [830, 851, 822]))
    assert (change.by, change.verdict) == ("nothing", "too few to tell")


def test_what_is_surely_worse_alone_may_not_be_among_many() -> None:
    alone = {"turn_ms": ([800, 806, 812, 818], [814, 820, 826, 832])}
    others = {
        name: ([800, 806, 812, 818], [800, 806, 812, 818]) for name in MANY if name != "turn_ms"
    }

    def calls(values: dict[str, tuple[list[int], list[int]]], which: int) -> dict[str, Any]:
        return {
            "scenarios": [
                {
                    "name": "talk",
                    "metrics": [
                        {"name": name, "turn": 1, "value": runs[which][call]}
                        for name, runs in values.items()
                    ],
                }
                for call in range(4)
            ]
        }

    change = only(calls(alone, 0), calls(alone, 1))
    assert change.regression
    assert change.judged == "worse, a regression (by more than 10)"
    together = {one.name: one for one in compare(*(calls(alone | others, run) for run in (0, 1)))}
    assert not together["turn_ms"].regression
    assert together["turn_ms"].judged == "worse, and not surely so among 6 metrics"


def test_one_value_each_tells_nothing() -> None:
    change = only(run("answer_ms", [10]), run("answer_ms", [500]))
    assert (change.by, change.verdict, change.regression) == (
        "nothing",
        "too few to tell",
        False,
    )


def test_only_what_both_measured_is_compared() -> None:
    assert compare(run("turn_ms", [1]), run("answer_ms", [1])) == []
    change = only(run("turn_ms", [800, 900], [801, 901]), run("turn_ms", [800], [801]))
    assert change.before == change.after


def test_equal_values_do_not_differ() -> None:
    change = only(run("turn_ms", [800], [800]), run("turn_ms", [800], [800]))
    assert change.verdict == "no difference seen"


def test_the_same_runs_give_the_same_intervals() -> None:
    one, other = run("turn_ms", *sample(800, 9, 1)), run("turn_ms", *sample(805, 9, 2))
    assert compare(one, other) == compare(one, other)
    assert regressions(compare(one, other)) == [c for c in compare(one, other) if c.regression]


def waiting(run: dict[str, Any], packet_ms: float) -> dict[str, Any]:
    """The same run, telling how long each value waited for a packet."""
    for scenario in run["scenarios"]:
        for metric in scenario["metrics"]:
            metric["packet_ms"] = packet_ms
    return {"run": {}, **run}


def test_the_wait_for_a_packet_is_off_where_both_runs_tell_it_and_nowhere_else() -> None:
    early, late = sample(800, 20, 1, spread=1), sample(812, 20, 2, spread=1)
    paced = waiting(run("turn_ms", *early), 2), waiting(run("turn_ms", *late), 14)
    assert only(*paced).difference == pytest.approx(0, abs=2)
    assert notes(*paced) == []
    older = {"run": {}, **run("turn_ms", *early)}
    assert only(older, paced[1]).difference == pytest.approx(12, abs=2), "no regression is hidden"
    (noted,) = notes(older, paced[1])
    assert "waited for a packet" in noted
    assert noted.endswith("left in turn_ms")
    del paced[0]["scenarios"][3]["metrics"][0]["packet_ms"]
    assert only(*paced).difference == pytest.approx(12, abs=2), "one value is enough"
