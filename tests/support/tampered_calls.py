"""Calls in memory whose evidence is tampered with: what an invariant must find."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from callerside.agent.call.events import Effect
from callerside.agent.config.settings import CallSettings
from callerside.agent.prompts.cache import MemoryPrompts
from callerside.agent.tools.toolboxes import stubs
from callerside.marks import Mark
from callerside.simulator.caller.audio import utterances
from callerside.simulator.lanes.virtual.call import play_call
from callerside.simulator.lanes.virtual.caller_invariants import ALL
from callerside.simulator.lanes.virtual.invariants import TracedCall, check, recovers
from callerside.simulator.scenario.model import Scenario

BARGE_IN: dict[str, Any] = {
    "about": "A barge-in.",
    "realtime": {
        "replies": [
            {
                "say": "We have three branches. The main branch is open from Monday to Saturday, "
                "the one at the harbour from Tuesday to Friday."
            },
            {"say": "The harbour branch opens at ten."},
        ]
    },
    "steps": [
        {"expect": "greeting"},
        {"say": "When are you open?"},
        {"say": "Sorry, I only want to know about the harbour.", "when": "reply + 1500ms"},
        {"expect": "reply"},
        "hang_up",
    ],
}


def play(data: dict[str, Any]) -> TracedCall:
    return play_whole(Scenario.model_validate(data).named("call"))


def play_whole(scenario: Scenario) -> TracedCall:
    settings = CallSettings.model_validate(scenario.agent)
    call = play_call(
        scenario,
        utterances.prepare(scenario, 24_000),
        call="call",
        seed=1,
        settings=settings,
        prompts=MemoryPrompts(),
        tools=stubs(settings),
    )
    return TracedCall(scenario=scenario, settings=settings, call=call)


def tampered(good: TracedCall, **changes: Any) -> TracedCall:
    return TracedCall(
        scenario=good.scenario, settings=good.settings, call=replace(good.call, **changes)
    )


def broken(traced: TracedCall) -> set[str]:
    return {breach.invariant for breach in check(traced, {**ALL, "recovers": recovers})}


def changed_marks(good: TracedCall, change: Callable[[Mark], Mark | None]) -> TracedCall:
    marks = [changed for mark in good.call.agent_marks if (changed := change(mark))]
    return tampered(good, agent_marks=marks)


def changed_effects(good: TracedCall, change: Callable[[Effect], list[Effect]]) -> TracedCall:
    trace = [
        step._replace(effects=[new for effect in step.effects for new in change(effect)])
        for step in good.trace
    ]
    return tampered(good, trace=trace)
