"""The call machine alone, whole calls in memory, and over SIP at rising concurrency.

Over SIP, the figures are read off what the caller heard: the agent's part of a turn, CPU and memory
of agent and harness, and how fast a barge-in silences the agent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agent.call import CallMachine
from agent.greeting import MemoryPrompts
from agent.settings import Settings
from simulator.knee import SCENARIO, find_knee
from simulator.loader import load
from simulator.phrases import prepare
from simulator.stage import Stage
from simulator.virtual_leg import LineOptions
from simulator.virtual_stage import VirtualCall, options_for, play_call

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CALLS = ((1, 4), (2, 4), (4, 4), (4, 2), (8, 4), (16, 4))
"""Calls at once, and how many of them a worker takes: up to four in one, then over several."""


def player(path: Path) -> Callable[[], VirtualCall]:
    """Plays a scenario's call in memory."""
    (scenario,) = load([path])
    settings = Settings.model_validate({}).for_call("bench")
    stage = Stage(name="bench", scenario=scenario, seed=1, greeting_cache="bench")
    options = options_for(scenario, settings, stage.seed)
    audio = prepare(scenario, options.line.sample_rate_hz)

    def play() -> VirtualCall:
        return play_call(
            scenario,
            audio,
            stage=stage.name,
            seed=stage.seed,
            settings=settings,
            prompts=MemoryPrompts(),
            options=options,
        )

    return play


def test_bench_the_call_machine(benchmark: Any) -> None:
    """The agent's machine alone, told again all that happened in a call of six turns."""
    tape = player(SCENARIO)().tape
    settings = Settings.model_validate({}).for_call("bench")
    rate_hz = LineOptions().sample_rate_hz

    def handle_all() -> int:
        machine = CallMachine(settings, called="bench", sample_rate_hz=rate_hz)
        return sum(len(machine.handle(step.given, step.at_ns)) for step in tape)

    assert benchmark(handle_all) == sum(len(step.effects) for step in tape) > len(tape) / 4
    benchmark.extra_info["inputs"] = len(tape)
    if not benchmark.disabled:
        benchmark.extra_info["inputs_a_second"] = len(tape) / benchmark.stats.stats.median


def test_bench_a_virtual_call(benchmark: Any) -> None:
    """The three machines and all between them, for a call of some twenty seconds."""
    call = benchmark(player(SCENARIOS / "first_call.yaml"))
    assert call.finish is not None
    assert call.finish.verdict == "passed"
    recorder = call.recorder
    benchmark.extra_info["call_s"] = recorder.samples / recorder.rate_hz


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As a test one call must do: that it works at all. The figures are `nox -s bench`'s."""
    if "calls_a_worker" in metafunc.fixturenames:
        enabled = metafunc.config.getoption("benchmark_enable")
        metafunc.parametrize(("calls", "calls_a_worker"), CALLS if enabled else CALLS[:1])


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_bench_calls_over_sip(
    calls: int, calls_a_worker: int, benchmark: Any, tmp_path: Path
) -> None:
    def place() -> Any:
        return asyncio.run(
            find_knee(SCENARIO, tmp_path, steps=(calls,), calls_a_worker=calls_a_worker)
        )

    knee = benchmark.pedantic(place, rounds=1)
    (step,) = knee.steps
    assert (step.calls, step.workers) == (calls, -(-calls // calls_a_worker))
    assert 1 <= step.finished <= step.placed, "beyond the knee not all of them do"
    assert step.turns >= step.finished
    assert step.agent.memory_mib > 0
    benchmark.extra_info.update(asdict(step))
