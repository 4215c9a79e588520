"""What no ear does better: right where nothing hides anything, and wrong by what is hidden."""

import numpy as np
import pytest
from numpy.typing import NDArray

from callerside.simulator.calibration.speech.conditions import CONDITIONS
from callerside.simulator.calibration.speech.hearing_limit import at_best, moved
from callerside.simulator.calibration.speech.spoken_call import SpokenCall, make
from callerside.simulator.calibration.speech.utterances import RATE_HZ


def tone(ms: int, level: float = 0.5) -> NDArray[np.float64]:
    t = np.arange(RATE_HZ * ms // 1000) / RATE_HZ
    return np.asarray(level * np.sin(2 * np.pi * 700 * t))


def call_on(name: str, greeting: NDArray[np.float64], answer: NDArray[np.float64]) -> SpokenCall:
    condition = next(one for one in CONDITIONS if one.name == name)
    return make(condition, greeting, tone(600), answer, tone(500), "seed")


@pytest.mark.parametrize("name", ["PCMU", "hum", "comfort noise", "loss"])
def test_nothing_is_told_of_a_line_without_loud_noise(name: str) -> None:
    assert [*at_best(call_on(name, tone(800), tone(3000)))] == []


def test_what_is_louder_than_the_noise_to_its_end_is_heard_to_its_end() -> None:
    found = [*at_best(call_on("white at 10 dB", tone(800), tone(3000)))]
    assert {metric for _, metric, _ in found} == {
        "onset", "end", "turn_ms", "barge_in_stop_ms", "talk_over_ms",
    }  # fmt: skip
    for _, metric, error in found:
        assert error is not None
        assert abs(error) < 10, metric


def test_an_end_that_the_noise_hides_is_not_heard_without_its_words() -> None:
    soft = np.concatenate([tone(800), tone(200, 0.5 * 10 ** (-28 / 20))])
    found = at_best(call_on("brown at 5 dB", soft, tone(3000)))
    ends = [error for ear, metric, error in found if (ear, metric) == ("unknown, at best", "end")]
    assert ends == [pytest.approx(-200, abs=30)]


def test_a_constant_moves_errors_to_where_p95_is_least() -> None:
    others = [float(ms) for ms in range(100)] + [None]
    assert moved([None, 47.0, 100.0], others) == [None, 0.0, 53.0]
    assert moved([3.0], [None]) == [3.0]
