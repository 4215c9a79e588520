"""Whole calls: in memory, and over SIP at rising concurrency.

Over SIP, the figures are read off what the caller heard: the agent's part of a turn, CPU and memory
of agent and harness, and how fast a barge-in silences the agent.
"""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agent.greeting import MemoryPrompts
from agent.settings import Settings
from simulator.knee import find_knee
from simulator.loader import load
from simulator.phrases import prepare
from simulator.stage import Stage
from simulator.virtual_stage import options_for, play_call

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CALLS = (1, 2, 4, 8, 16)
"""Up to four in one of the agent's processes, then over several."""


def test_bench_a_virtual_call(benchmark: Any) -> None:
    """The three machines and all between them, for a call of some twenty seconds."""
    (scenario,) = load([SCENARIOS / "first_call.yaml"])
    settings = Settings.model_validate({}).for_call("bench")
    stage = Stage(name="bench", scenario=scenario, seed=1, greeting_cache="bench")
    options = options_for(scenario, settings, stage.seed)
    audio = prepare(scenario, options.line.sample_rate_hz)

    def play() -> Any:
        return play_call(
            scenario,
            audio,
            stage=stage.name,
            seed=stage.seed,
            settings=settings,
            prompts=MemoryPrompts(),
            options=options,
        )

    call = benchmark(play)
    assert call.finish is not None
    assert call.finish.verdict == "passed"
    recorder = call.recorder
    benchmark.extra_info["call_s"] = recorder.samples / recorder.rate_hz


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As a test one call must do: that it works at all. The figures are `nox -s bench`'s."""
    if "calls" in metafunc.fixturenames:
        enabled = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize("calls", CALLS if enabled else CALLS[:1])


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_bench_calls_over_sip(calls: int, benchmark: Any, tmp_path: Path) -> None:
    def place() -> Any:
        return asyncio.run(find_knee(SCENARIOS / "barge_in.yaml", tmp_path, steps=(calls,)))

    knee = benchmark.pedantic(place, rounds=1)
    (step,) = knee.steps
    assert step.calls == calls
    assert 1 <= step.finished <= calls, "beyond the knee not all of them do"
    assert step.turns >= step.finished
    assert step.agent.memory_mib > 0
    benchmark.extra_info.update(asdict(step))
