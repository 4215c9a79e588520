"""The call machine alone, whole calls in memory, and over SIP at rising concurrency.

Over SIP, the figures are read off what the caller heard: the agent's part of a turn, CPU and memory
of agent and harness, and how fast a barge-in silences the agent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from reference_work import loop_s

from callerside.agent.call.machine import CallMachine
from callerside.agent.config.settings import Settings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.telephony.engine import PROFILES, EngineName
from callerside.simulator.caller.audio.utterances import prepare
from callerside.simulator.capacity.load_ramp import SCENARIO, find_knee
from callerside.simulator.cli.capacity import known_error_ms
from callerside.simulator.lanes.virtual.call import VirtualCall, options_for, play_call
from callerside.simulator.lanes.virtual.leg import LineOptions
from callerside.simulator.scenario.loader import load
from callerside.simulator.scenario.model import Scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CALLS = ((1, 4), (2, 4), (4, 4), (4, 2), (8, 4), (16, 4))
"""Calls at once, and how many of them a worker takes: up to four in one, then over several."""


def player(
    scenario: Scenario, *, traced: bool = False, frame_by_frame: bool = False
) -> Callable[[], VirtualCall]:
    """Plays a scenario's call in memory."""
    settings = Settings.model_validate({"timeline": {"trace_audio": traced}}).for_call("bench")
    options = options_for(scenario, settings, seed=1)
    audio = prepare(scenario, options.line.sample_rate_hz)

    def play() -> VirtualCall:
        return play_call(
            scenario,
            audio,
            call="bench",
            seed=1,
            settings=settings,
            prompts=MemoryPrompts(),
            options=replace(options, frame_by_frame=frame_by_frame),
        )

    return play


def test_bench_the_call_machine(benchmark: Any) -> None:
    """The agent's machine alone, told again all that happened in a call of six turns."""
    trace = player(load([SCENARIO])[0], frame_by_frame=True)().trace  # as a telephone tells it
    settings = Settings.model_validate({}).for_call("bench")
    rate_hz = LineOptions().sample_rate_hz

    def handle_all() -> int:
        machine = CallMachine(settings, called="bench", sample_rate_hz=rate_hz)
        return sum(len(machine.handle(step.given, step.at_ns)) for step in trace)

    assert benchmark(handle_all) == sum(len(step.effects) for step in trace) > len(trace) / 4
    benchmark.extra_info["inputs"] = len(trace)
    if not benchmark.disabled:
        benchmark.extra_info["inputs_a_second"] = len(trace) / benchmark.stats.stats.median


LIMIT_OF_A_MINUTE_LOOPS = 0.25
"""In loops of reference work: a thousand times real time on a fast core, with the energy VAD."""
BRANCHES = (
    "We have three branches. The main branch is open from Monday to Saturday, the one at the "
    "harbour from Tuesday to Friday, and the one at the station every day of the week."
)
A_MINUTE = {
    "about": "A call of about a minute: five questions, five answers, two of them long.",
    "realtime": {
        "greeting": {"say": "Hello, this is the city library. How can I help you?"},
        "replies": [
            {"say": "On Saturday we open at nine in the morning and close at five."},
            {"say": BRANCHES},
            {"say": "Indeed, we are closed on Sundays and on public holidays."},
            {"say": BRANCHES},
            {"say": "Always welcome."},
        ],
    },
    "steps": [
        {"expect": "beep"},
        {"expect": "greeting"},
        {"say": "Hello. What time do you open on Saturday?"},
        {"expect": "reply"},
        {"say": "Could you tell me about your branches, and when each of them is open?"},
        {"expect": "reply"},
        {"say": "And are you closed on Sunday?"},
        {"expect": "reply"},
        {"pause": 2000},
        {"say": "Please tell me about the branches again."},
        {"expect": "reply"},
        {"say": "Thank you."},
        {"expect": "reply"},
        "hang_up",
    ],
    "time_limit": 120_000,
}


@pytest.mark.parametrize("traced", [False, True], ids=["plain", "every append traced"])
def test_bench_a_minute_in_memory(traced: bool, benchmark: Any) -> None:
    """A call: the three machines, the line, the detector, the marks, the trace and the recording.

    Not its report: that is measured with the library. Traced, both ends of the API mark each
    append, fifty a second, as they do in `callerside run`.
    """
    scenario = Scenario.model_validate(A_MINUTE).named("bench")
    call = benchmark(player(scenario, traced=traced))
    assert call.finish is not None
    assert call.finish.verdict == "passed"
    call_s = call.recorder.samples / call.recorder.rate_hz
    assert call_s > 50
    if benchmark.stats is None:
        return
    minute_s = benchmark.stats.stats.min * 60 / call_s
    benchmark.extra_info.update(call_s=call_s, minute_s=minute_s, times_real_time=60 / minute_s)
    assert traced or minute_s / loop_s() <= LIMIT_OF_A_MINUTE_LOOPS


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
    benchmark.extra_info.update(asdict(step), error_ms=known_error_ms())


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_bench_a_full_worker(benchmark: Any, tmp_path: Path) -> None:
    """Each engine's worker with as many calls as it takes, one after the other."""
    in_full = benchmark.enabled
    names: list[EngineName] = list(PROFILES) if in_full else ["baresip"]

    def place() -> dict[EngineName, Any]:
        return {
            name: asyncio.run(
                find_knee(
                    SCENARIO,
                    tmp_path / name,
                    steps=(PROFILES[name].calls_a_process if in_full else 1,),
                    calls_a_worker=PROFILES[name].calls_a_process,
                    engine=name,
                )
            )
            for name in names
        }

    for name, found in benchmark.pedantic(place, rounds=1).items():
        (step,) = found.steps
        assert step.workers == 1
        assert step.finished >= 1
        benchmark.extra_info.update(
            {
                f"{name}_calls": step.calls,
                f"{name}_finished": step.finished,
                f"{name}_cpu_cores_a_call": step.agent.cpu_cores / step.calls,
                **{f"{name}_overhead_ms_{key}": one for key, one in step.overhead_ms.items()},
                **{f"{name}_{hop}_p95": one for hop, one in step.hops_ms.items()},
            }
        )
