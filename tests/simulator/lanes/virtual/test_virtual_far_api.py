"""Calls whose Realtime API is 150 ms away, there and back: what crosses on the way shows there.

In most of the library the way back takes 0.4 ms, and events of the two sides hardly ever cross.
"""

from pathlib import Path
from textwrap import dedent

import pytest

from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts, Prompt
from callerside.fakes.script.model import PathDelay
from callerside.simulator.caller.audio import utterances
from callerside.simulator.lanes.virtual.call import (
    VirtualCall,
    options_for,
    play_call,
)
from callerside.simulator.runner.plan import plan
from callerside.simulator.scenario.loader import load_file

FAR = PathDelay(delay=75.0)


def played(folder: Path, text: str, prompts: MemoryPrompts | None = None) -> VirtualCall:
    path = folder / "far.yaml"
    path.write_text("about: A test.\n" + dedent(text))
    (written,) = load_file(path)
    far = written.realtime.model_copy(update={"path": FAR})
    scenario = written.model_copy(update={"realtime": far})
    planned = plan([scenario], repeat=1, seed=3)[0]
    settings = CallSettings.model_validate(scenario.agent)
    options = options_for(scenario, settings, planned.seed)
    return play_call(
        scenario,
        utterances.prepare(scenario, options.line.sample_rate_hz),
        call=planned.name,
        seed=planned.seed,
        settings=settings,
        prompts=prompts or MemoryPrompts(),
        options=options,
    )


def names(call: VirtualCall) -> list[str]:
    return [mark.name for mark in call.agent_marks]


@pytest.mark.parametrize("policy", ["server", "client"])
def test_one_turn_has_one_answer(policy: str, tmp_path: Path) -> None:
    call = played(
        tmp_path,
        f"""
        agent: {{turns: {{policy: {policy}}}}}
        steps:
          - expect: greeting
          - say: "When do you open?"
          - expect: reply
          - pause: 6s
          - hang_up
        """,
    )
    requested = names(call).count("response_requested")
    assert requested == names(call).count("greeting_requested") == 1
    assert names(call).count("response_created") == 2
    assert "watchdog_fired" not in names(call)


def test_an_answer_that_crosses_the_request_for_the_greeting_is_not_stored(tmp_path: Path) -> None:
    stored: list[str] = []

    class Prompts(MemoryPrompts):
        def store(self, key: str, prompt: Prompt, rate_hz: int) -> None:
            super().store(key, prompt, rate_hz)
            stored.append(prompt.transcript)

    call = played(
        tmp_path,
        """
        agent: {greeting: {delay_ms: 1500, interruptible: true}}
        steps:
          - say: "Yes?"
            when: answer + 520ms
          - pause: 8s
          - hang_up
        """,
        Prompts(),
    )
    crossed = [m.fields["code"] for m in call.agent_marks if m.name == "realtime_error"]
    assert crossed == ["conversation_already_has_active_response"], "or this test shows nothing"
    assert not stored


def test_a_key_that_stops_an_answer_before_the_greeting_leaves_the_call_its_voice(
    tmp_path: Path,
) -> None:
    call = played(
        tmp_path,
        """
        agent: {greeting: {delay_ms: 2500}}
        realtime:
          greeting: {say: "Hello, and welcome to the city library, the house of a million books."}
          replies:
            - say: >-
                Good day, this is a very long first reply that goes on for quite a while, so that
                the greeting has to wait behind it, and the caller gets impatient.
            - say: "We open at nine."
        steps:
          - say: "Hello?"
            when: answer + 520ms
          - press: "1"
            when: answer + 3600ms
          - pause: 8s
          - say: "When do you open?"
          - pause: 8s
          - hang_up
        """,
    )
    assert "playout_cleared" in names(call), "or this test shows nothing"
    greeted = [
        mark.fields["interrupted"] for mark in call.agent_marks if mark.name == "greeting_ended"
    ]
    assert greeted == [False]
    last = [m.at_ns for m in call.agent_marks if m.name == "playout_ended"][-1]
    stopped = [m.at_ns for m in call.agent_marks if m.name == "speech_stopped"][-1]
    assert last > stopped, "the last answer is heard"
