"""What the model says is queued, leaves, and is heard; where it is not, there is a reason."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tampered_calls import (
    BARGE_IN,
    broken,
    changed_effects,
    changed_marks,
    play,
    play_whole,
    tampered,
)

from callerside.agent.call import events
from callerside.agent.call.events import Effect, EndRequested, Timer, TimerFired
from callerside.agent.realtime.interface import RealtimeEvent
from callerside.agent.telephony.interface import DtmfReceived
from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.marks import Mark
from callerside.simulator.lanes.virtual.invariants import TracedCall, server_event
from callerside.simulator.lanes.virtual.playout_model import replay_playout
from callerside.simulator.lanes.virtual.trace import Step
from callerside.simulator.scenario import loader

LOST, UNHEARD = "nothing_said_is_lost", "what_left_is_heard"
LONG = "We have three branches. The main branch is open from Monday to Saturday."
ASKED: dict[str, Any] = {
    "about": "A question.",
    "agent": {"limits": {"silence_ms": 4000}},
    "realtime": {"replies": [{"say": LONG}], "timing": {"pace": 1}},
    "steps": [{"expect": "greeting"}, {"say": "When are you open?"}, {"pause": 30_000}],
}
"""Greeted, answered, and taken leave of: a response of each purpose."""


@pytest.fixture(scope="module")
def good() -> TracedCall:
    return play(ASKED)


def audio_of(traced: TracedCall, purpose: object) -> list[Step]:
    """The steps that bring audio of responses of this purpose."""
    told = [(step, server_event(step)) for step in traced.trace]
    purposes = {
        event["response"]["id"]: (event["response"].get("metadata") or {}).get("purpose")
        for _, event in told
        if event.get("type") == "response.created"
    }
    return [
        step
        for step, event in told
        if event.get("type") == "response.output_audio.delta"
        and purposes[event["response_id"]] == purpose
    ]


def amid_the_answer(traced: TracedCall) -> Step:
    steps = audio_of(traced, None)
    return steps[len(steps) // 2]


def without(
    traced: TracedCall, is_lost: Callable[[Step], bool], kind: type[Effect] = events.Play
) -> TracedCall:
    """Effects of one kind are left out of some steps."""
    trace = [
        step._replace(effects=[one for one in step.effects if not isinstance(one, kind)])
        if is_lost(step)
        else step
        for step in traced.trace
    ]
    return tampered(traced, trace=trace)


def test_all_of_it_is_heard(good: TracedCall) -> None:
    assert broken(good) == set()
    assert any(mark.fields["what"] == "silence" for mark in good.agent("watchdog_fired"))


@pytest.mark.parametrize("purpose", ["greeting", None, "goodbye"])
def test_a_delta_that_is_not_queued_is_found(good: TracedCall, purpose: object) -> None:
    steps = audio_of(good, purpose)
    assert len(steps) > 3, "there is such a response"
    assert LOST in broken(without(good, lambda step: step is steps[2]))


def test_half_a_delta_that_is_not_queued_is_found(good: TracedCall) -> None:
    def halve(effect: Effect) -> list[Effect]:
        if not isinstance(effect, events.Play):
            return [effect]
        return [structs.replace(effect, pcm=effect.pcm[: len(effect.pcm) // 4 * 2])]

    assert LOST in broken(changed_effects(good, halve))


@pytest.mark.parametrize(
    "given",
    [
        None,
        DtmfReceived(digit="1", method="rfc4733"),
        RealtimeEvent(event={"type": "input_audio_buffer.speech_started", "item_id": "x"}),
    ],
    ids=["for nothing", "for a key", "for a word"],
)
def test_audio_that_is_dropped_for_nothing_is_found(good: TracedCall, given: Any) -> None:
    model = replay_playout(good)
    step = amid_the_answer(good)
    item = server_event(step)["item_id"]
    tags = frozenset(tag for tag, one in model.items_of_tags.items() if one == item)
    drop = events.ClearPlayout(tags=tags)
    asked = Step(step.at_ns, given or TimerFired(timer=Timer.HOLD_DUE), [drop])
    place = good.trace.index(step) + 1
    trace = [*good.trace[:place], asked, *good.trace[place:]]
    dropped = replay_playout(tampered(good, trace=trace)).lost
    assert any("nobody had stopped it" in what for _, what in dropped) is (given is None)


def test_a_response_that_is_stopped_for_nothing_is_found(good: TracedCall) -> None:
    step = amid_the_answer(good)
    name = server_event(step)["response_id"]
    cancel = {"type": "response.cancel", "response_id": name, "event_id": "x"}
    trace = list(good.trace)
    changed = step._replace(effects=[*step.effects, events.SendEvent(event=cancel)])
    trace[trace.index(step)] = changed
    lost = replay_playout(tampered(good, trace=trace)).lost
    assert any("stopped for nothing" in what for _, what in lost)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_call_that_ends_before_its_last_word_is_found(good: TracedCall, at_once: bool) -> None:
    """To end at once, as a process may have to, is a reason."""
    place = good.trace.index(amid_the_answer(good)) + 1
    given = EndRequested(reason="draining", at_once=at_once)
    asked = Step(good.trace[place].at_ns, given, [events.HangUp()])
    trace = [*good.trace[:place], asked, *good.trace[place:]]
    lost = replay_playout(tampered(good, trace=trace)).lost
    assert any("was let go before" in what for _, what in lost) is not at_once


def test_what_finds_no_room_is_told_by_marks(good: TracedCall) -> None:
    timing = {"pace": 200}
    agent = {**ASKED["agent"], "playout": {"max_ms": 1000}}
    full = play({**ASKED, "agent": agent, "realtime": {**ASKED["realtime"], "timing": timing}})
    assert broken(full) == set()
    assert replay_playout(full).overflowed_samples > 24_000

    def untold(mark: Mark) -> Mark | None:
        return None if mark.name == "playout_overflowed" else mark

    assert LOST in broken(changed_marks(full, untold))


def test_what_the_caller_has_stopped_is_not_missed() -> None:
    spoken_into = play(BARGE_IN)
    assert replay_playout(spoken_into).truncations
    assert broken(spoken_into) == set()


def test_what_who_is_to_take_the_caller_is_not_told_is_found() -> None:
    path = Path(__file__).parents[4] / "scenarios" / "transfer_attended.yaml"
    (scenario,) = loader.load([path])
    sent_on = play_whole(scenario)
    assert any(sent_on.agent("consultation_told"))
    assert broken(sent_on) == set()
    steps = [
        step
        for step in sent_on.trace
        if any(isinstance(effect, events.PlayToConsulted) for effect in step.effects)
    ]
    lost = without(sent_on, lambda step: step is steps[1], events.PlayToConsulted)
    assert LOST in broken(lost)


def test_what_left_and_was_not_heard_is_found(
    good: TracedCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = copy.deepcopy(good.call.recorder)
    mouth, ear = spoiled.channels()
    model = replay_playout(good)
    begun_ns = next(at_ns for at_ns, _ in model.left if at_ns > model.left[0][0] + NS_PER_S)
    place = 48 * ((begun_ns - (spoiled.started_at_ns or 0)) // NS_PER_MS)
    hole = bytes(48 * 100)
    holed = ear[:place] + hole + ear[place + len(hole) :]
    monkeypatch.setattr(spoiled, "channels", lambda: (mouth, holed))
    assert UNHEARD in broken(tampered(good, recorder=spoiled))
