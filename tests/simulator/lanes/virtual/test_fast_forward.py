"""Frames that pass several at once change nothing: each call is played both ways, and compared."""

from pathlib import Path

import pytest

from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.telephony.interface import AudioReceived
from callerside.simulator.caller.audio import utterances
from callerside.simulator.fuzz.calls import generate
from callerside.simulator.fuzz.choices import SeededChoices
from callerside.simulator.lanes.virtual.call import (
    VirtualCall,
    VirtualOptions,
    options_for,
    play_call,
)
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario import loader
from callerside.simulator.scenario.model import Scenario

SCENARIOS = Path(__file__).parents[4] / "scenarios"
SHIPPED = (
    "first_call",
    "barge_in_twice",
    "hold",
    "echo",
    "loss",
    "caller_silent",
    "mission_profile",
    "local_turns",
    "server_stalls",
    "slow_connect",
)
SEEDS = range(25)


def played(scenario: Scenario, *, trace: bool, frame_by_frame: bool) -> VirtualCall:
    planned = plan([scenario], repeat=1, seed=3)[0]
    timeline = {"timeline": {"trace_audio": trace}}
    settings = CallSettings.model_validate({**scenario.agent, **timeline})
    options = options_for(scenario, settings, planned.seed)
    return play_call(
        scenario,
        utterances.prepare(scenario, options.line.sample_rate_hz),
        call=planned.name,
        seed=planned.seed,
        settings=settings,
        prompts=MemoryPrompts(),
        options=VirtualOptions(line=options.line, frame_by_frame=frame_by_frame),
    )


def evidence(call: VirtualCall) -> dict[str, object]:
    marks = [*call.agent_marks, *call.caller_marks, *call.realtime_marks]
    return {
        "marks": [mark.to_json() for mark in marks],
        "recording": (call.recorder.started_at_ns, call.recorder.channels()),
        "heard by the server": call.heard_by_server,
        "ended": (call.ended_ns, call.agent_ended, call.finish),
    }


def assert_alike(scenario: Scenario, *, trace: bool) -> None:
    at_once = played(scenario, trace=trace, frame_by_frame=False)
    one_by_one = played(scenario, trace=trace, frame_by_frame=True)
    assert evidence(at_once) == evidence(one_by_one)


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_calls_are_the_same_either_way(seed: int) -> None:
    call = {**generate(SeededChoices(seed)), "after": None}
    assert_alike(Scenario.model_validate(call).named("call"), trace=False)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_calls_are_the_same_either_way_every_append_traced(name: str) -> None:
    assert_alike(loader.load([SCENARIOS / f"{name}.yaml"])[0], trace=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_calls_are_the_same_either_way_untraced(name: str) -> None:
    assert_alike(loader.load([SCENARIOS / f"{name}.yaml"])[0], trace=False)


def frames_told(call: VirtualCall) -> int:
    return sum(isinstance(step.given, AudioReceived) for step in call.trace)


def test_most_frames_of_an_ordinary_call_pass_many_at_once() -> None:
    (scenario,) = loader.load([SCENARIOS / "first_call.yaml"])
    at_once = frames_told(played(scenario, trace=False, frame_by_frame=False))
    one_by_one = frames_told(played(scenario, trace=False, frame_by_frame=True))
    assert at_once < one_by_one / 4
    assert frames_told(played(scenario, trace=True, frame_by_frame=False)) == one_by_one
