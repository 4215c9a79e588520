"""Calls of a calibration on speech: their truth is true, and a plan is the same each time."""

from dataclasses import replace

import numpy as np
import pytest

from callerside.clock import NS_PER_MS
from callerside.reports.hearing import active_level
from callerside.reports.metrics.metrics import measure
from callerside.simulator.calibration.speech import calibrate, conditions, table, utterances
from callerside.simulator.calibration.speech.calibrate import Error
from callerside.simulator.calibration.speech.conditions import CLEAN, Packets
from callerside.simulator.calibration.speech.spoken_call import make
from callerside.speech.synthesis import synthesise

RATE_HZ = utterances.RATE_HZ


def wave(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(np.frombuffer(synthesise(text, rate_hz=RATE_HZ), "<i2") / 32768)


def call_on(condition: conditions.Condition) -> tuple[dict[str, float], dict[str, float]]:
    """What is measured of a call whose server's audio is known, and what is true of it."""
    greeting, question, barge = wave("Good morning."), wave("Until six?"), wave("Wait a moment.")
    answer = wave("On a Saturday morning we are here from nine o'clock until six in the evening.")
    call = make(condition, greeting, question, answer, barge, "seed")
    found = measure(call.evidence("known")).measurements
    true = {"turn_ms": call.turn_ms, "barge_in_stop_ms": call.stop_ms}
    return {one.name: one.value for one in found if one.name in true}, true


def test_the_truth_of_a_clean_call_is_what_is_measured() -> None:
    measured, true = call_on(CLEAN)
    assert measured == pytest.approx(true, abs=1)


def test_a_greeting_with_a_fault_is_not_taken_for_the_answer_that_repeats_its_words() -> None:
    greeting, question, barge = wave("Good morning."), wave("Until six?"), wave("Wait a moment.")
    answer = np.concatenate([greeting, np.zeros(RATE_HZ // 4), wave("We are here until six.")])
    calls = (make(CLEAN, greeting, question, answer, barge, str(seed)) for seed in range(100))
    call = next(one for one in calls if one.greeting.fault == "left out")
    begun = [one for one in measure(call.evidence("sent")).audible.ear if one.source == "sent"]
    assert begun[0].start_ns == pytest.approx(call.at_ns(call.heard[0][0][0]), abs=NS_PER_MS)


@pytest.mark.parametrize("name", ["PCMU", "G.722", "Opus", "white at 20 dB", "echo"])
def test_no_line_moves_the_truth(name: str) -> None:
    lines = (*conditions.available()[0], conditions.OPUS)
    if name not in {one.name for one in lines}:
        pytest.skip(str(conditions.available()[1]))
    _, clean = call_on(CLEAN)
    measured, true = call_on(next(one for one in lines if one.name == name))
    assert true == clean
    assert measured == pytest.approx(true, abs=5)


def test_what_a_lost_packet_takes_with_it_is_not_true_either() -> None:
    condition = replace(CLEAN, loss=1.0)
    assert not Packets(condition, 3200, "seed").carry(np.ones(3200)).any()
    late = Packets(replace(CLEAN, late=1.0), 32_000, "seed").carry(np.ones(32_000))
    assert active_level.edges((late * 9000).astype(np.int16), 16_000) != (0, 32_000)


def test_a_plan_is_the_same_each_time_and_a_sample_says_each_utterance_once() -> None:
    every = calibrate.plans()
    assert [one.name for one in every] == [one.name for one in calibrate.plans()]
    said = {one.utterance for one in every}
    sample = calibrate.plans(sample=len(said))
    assert {one.utterance for one in sample} == said


def test_what_is_held_out_is_said_with_what_is_held_out() -> None:
    for plan in calibrate.plans(sample=100):
        assert {one.held_out for one in plan.others} == {plan.utterance.held_out}


def test_the_table_has_the_share_outside_the_bounds_and_without_a_value() -> None:
    errors = [
        Error(
            metric="turn_ms", ear="known", condition="PCMU", held_out=False,
            error_ms=error_ms, bound_ms=2.0,
        )
        for error_ms in (1.0, -3.0, None, 0.5)
    ]  # fmt: skip
    (row,) = table.rows(errors)
    assert (row.count, row.undecided, row.outside) == (4, 0.25, round(1 / 3, 3))
    assert (row.bias_ms, row.p95_ms, row.max_ms) == (0.5, 3.0, 3.0)
    assert table.beyond([row]) == table.broken([row]) == []
    assert table.beyond([replace(row, p95_ms=5.1)])
    assert table.broken([replace(row, p95_ms=5.1)])
    assert table.broken([replace(row, p95_ms=None)])
    assert table.from_data(table.to_data([row], 4, [])) == [row]


def test_more_edges_outside_of_their_bounds_than_by_chance_are_told() -> None:
    def with_outside(wrong: int) -> list[table.Row]:
        return table.rows([
            Error(
                metric="end", ear="unknown", condition="PCMU", held_out=False,
                error_ms=61.0 if number < wrong else 1.0, bound_ms=60.0,
            )
            for number in range(100)
        ])  # fmt: skip

    assert table.outside(with_outside(5)) == (5, 100)
    assert table.broken(with_outside(5)) == [
        "5 of 100 edges of other agents outside of their bounds"
    ]
    assert table.broken(with_outside(4)) == []
