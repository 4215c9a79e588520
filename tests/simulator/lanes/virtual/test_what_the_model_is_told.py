"""Keys, and what becomes of functions, reach the model: once, in order, as they were."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tampered_calls import BARGE_IN, broken, changed_effects, play, tampered

from callerside.agent.call import events
from callerside.agent.call.events import Effect
from callerside.simulator.lanes.virtual.invariants import TracedCall, check
from callerside.simulator.lanes.virtual.told_invariants import TOLD

KEYED: dict[str, Any] = {
    "about": "Two numbers, one of which ends with a pause.",
    "steps": [
        {"expect": "greeting"},
        {"press": "40317"},
        {"pause": 6000},
        {"press": "42#"},
        {"pause": 6000},
        "hang_up",
    ],
}
LOST_AFTER_KEYS = {
    **KEYED,
    "realtime": {"faults": [{"fault": "drop", "at": "greeting + 9s"}]},
    "steps": [*KEYED["steps"][:3], {"pause": 9000}, *KEYED["steps"][3:]],
}
LOOK_UP = {"name": "look_up", "arguments": {"day": "Saturday"}}
AGAIN = {"name": "look_up", "arguments": {"day": "Sunday"}}
NO_SUCH = {"name": "no_such_function", "arguments": {}}
CALLED: dict[str, Any] = {
    **BARGE_IN,
    "agent": {"tools": {"stub": {"look_up": {"returns": "open", "after": 300}}}},
    "realtime": {"replies": [{"function_calls": [LOOK_UP, AGAIN, NO_SUCH]}, {"say": "Both days."}]},
    "steps": [*BARGE_IN["steps"][:2], {"expect": "reply"}, "hang_up"],
}


@pytest.fixture(scope="module")
def keyed() -> TracedCall:
    return play(KEYED)


@pytest.fixture(scope="module")
def called() -> TracedCall:
    return play(CALLED)


def found(traced: TracedCall) -> set[str]:
    return {breach.invariant for breach in check(traced, TOLD)}


@pytest.mark.parametrize("data", [KEYED, LOST_AFTER_KEYS, CALLED], ids=["keys", "lost", "calls"])
def test_all_of_it_is_told(data: dict[str, Any]) -> None:
    traced = play(data)
    assert broken(traced) == set()
    told = [item for step in traced.trace for item in map(told_item, step.effects) if item]
    assert len(told) >= 2


def told_item(effect: Effect) -> dict[str, Any]:
    if not isinstance(effect, events.SendEvent):
        return {}
    item: dict[str, Any] = dict(effect.event.get("item") or {})
    is_key = item.get("role") == "user"
    return item if is_key or item.get("type") == "function_call_output" else {}


def told(
    change: Callable[[int, events.SendEvent], list[Effect]],
) -> Callable[[Effect], list[Effect]]:
    """Changes what the model is told, each by its number."""
    seen = 0

    def changed(effect: Effect) -> list[Effect]:
        nonlocal seen
        if not isinstance(effect, events.SendEvent) or not told_item(effect):
            return [effect]
        seen += 1
        return change(seen, effect)

    return changed


def other_text(effect: events.SendEvent, old: str, new: str) -> events.SendEvent:
    item = told_item(effect)
    if "output" in item:
        item["output"] = item["output"].replace(old, new)
    else:
        (content,) = item["content"]
        item["content"] = [{**content, "text": content["text"].replace(old, new)}]
    return structs.replace(effect, event={**effect.event, "item": item})


def other_output(effect: events.SendEvent, output: str) -> events.SendEvent:
    item = {**told_item(effect), "output": output}
    return structs.replace(effect, event={**effect.event, "item": item})


@pytest.mark.parametrize("number", [1, 2])
def test_a_number_that_is_never_told_is_found(keyed: TracedCall, number: int) -> None:
    untold = told(lambda n, effect: [] if n == number else [effect])
    assert found(changed_effects(keyed, untold)) == {"keys_are_told"}


@pytest.mark.parametrize(
    ("old", "new"), [("4 0 3 1 7", "4 0 3"), ("4 2 #", "4 0 3 1 7 4 2 #"), ("4 2 #", "2 4 #")]
)
def test_other_keys_than_were_pressed_are_found(keyed: TracedCall, old: str, new: str) -> None:
    changed = told(lambda _, effect: [other_text(effect, old, new)])
    assert found(changed_effects(keyed, changed)) == {"keys_are_told"}


def test_a_number_that_is_told_twice_is_found(keyed: TracedCall) -> None:
    assert found(changed_effects(keyed, told(lambda _, effect: [effect, effect]))) == {
        "keys_are_told"
    }


def test_a_new_session_that_is_not_told_is_found() -> None:
    lost = play(LOST_AFTER_KEYS)
    untold = told(lambda n, effect: [] if n == 2 else [effect])
    assert found(changed_effects(lost, untold)) == {"keys_are_told"}


def test_a_key_that_was_pressed_and_not_told_is_found(keyed: TracedCall) -> None:
    """Whether it got lost on the telephone, or later."""
    marks = []
    for mark in keyed.call.caller_marks:
        is_press = mark.name == "dtmf_sent" and mark.fields["digits"] == "42#"
        fields = {**mark.fields, "digits": "421#"} if is_press else mark.fields
        marks.append(structs.replace(mark, fields=fields))
    assert found(tampered(keyed, caller_marks=marks)) == {"keys_are_told"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_answer_that_is_never_told_is_found(called: TracedCall, number: int) -> None:
    untold = told(lambda n, effect: [] if n == number else [effect])
    assert found(changed_effects(called, untold)) == {"answers_of_functions_are_told"}


def test_an_answer_that_is_told_twice_is_found(called: TracedCall) -> None:
    twice = told(lambda _, effect: [effect, effect])
    assert found(changed_effects(called, twice)) == {"answers_of_functions_are_told"}


def test_another_answer_than_the_functions_is_found(called: TracedCall) -> None:
    changed = told(lambda _, effect: [other_text(effect, "open", "closed")])
    assert found(changed_effects(called, changed)) == {"answers_of_functions_are_told"}


@pytest.mark.parametrize("output", ['{"ok": true}', "done", '{"error": ""}'])
def test_a_failure_that_is_told_as_none_is_found(called: TracedCall, output: str) -> None:
    third = told(lambda n, effect: [other_output(effect, output) if n == 3 else effect])
    assert found(changed_effects(called, third)) == {"answers_of_functions_are_told"}


def test_keys_that_were_sent_and_are_told_as_a_failure_are_found() -> None:
    keys = {"name": "send_dtmf", "arguments": {"digits": "42#"}}
    able = {"agent": {"tools": {"send_dtmf": True}}}
    sent = play(
        {**CALLED, **able, "realtime": {"replies": [{"function_call": keys}, {"say": "Sent."}]}}
    )
    assert broken(sent) == set()
    failed = told(lambda _, effect: [other_output(effect, '{"error": "no"}')])
    assert found(changed_effects(sent, failed)) == {"answers_of_functions_are_told"}


@pytest.mark.parametrize("change", ["again", "arguments", "name"])
def test_a_function_that_runs_as_nobody_called_it_is_found(called: TracedCall, change: str) -> None:
    def wrong(effect: Effect) -> list[Effect]:
        if not isinstance(effect, events.RunTool):
            return [effect]
        if change == "again":
            return [effect, effect]
        if change == "name":
            return [replace(effect, name="look_down")]
        return [replace(effect, arguments={"day": "Monday"})]

    assert found(changed_effects(called, wrong)) == {"functions_are_called_once"}
