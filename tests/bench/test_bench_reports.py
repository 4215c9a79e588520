"""The detector and the reports: what listening live costs, and a whole call afterwards."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_call import SyntheticCall, TurnTruth, speech

from callerside.reports.hearing.detector import SpeechAndToneDetector, segments
from callerside.reports.metrics.metrics import measure
from callerside.reports.pages.html import call_page
from callerside.reports.verdict.call_result import judge_call
from callerside.reports.verdict.results import RunInfo

FRAMES = 3000
"""A minute."""


def minute(kind: str) -> NDArray[np.int16]:
    samples = np.zeros(FRAMES * 160, np.int16)
    if kind == "speech":
        for second in range(0, 60, 2):
            samples[second * 8000 : (second + 1) * 8000] = speech(1000, second)
    return samples


@pytest.mark.parametrize("kind", ["silence", "speech"])
def test_bench_ears_live_on_a_minute(kind: str, benchmark: Any) -> None:
    samples = minute(kind)
    frames = [samples[n : n + 160].tobytes() for n in range(0, samples.size, 160)]

    def listen() -> int:
        detector = SpeechAndToneDetector(8000)
        return sum(len(detector.feed(frame)) for frame in frames)

    heard = benchmark(listen)
    assert heard == (60 if kind == "speech" else 0)
    benchmark.extra_info["frames"] = FRAMES


def test_bench_ears_afterwards_on_a_minute(benchmark: Any) -> None:
    samples = minute("speech")
    assert len(benchmark(segments, samples, 8000)) >= 30


def test_bench_a_minutes_call_measured(benchmark: Any) -> None:
    turns = [TurnTruth(says_ms=3000, answer_length_ms=4000) for _ in range(7)]
    evidence = SyntheticCall(turns=turns).build()
    assert benchmark(measure, evidence).measurements


def test_bench_a_minutes_call_drawn(benchmark: Any) -> None:
    turns = [TurnTruth(says_ms=3000, answer_length_ms=4000) for _ in range(7)]
    call = judge_call(SyntheticCall(turns=turns).build())
    assert benchmark(call_page, RunInfo(started_at=""), call)
