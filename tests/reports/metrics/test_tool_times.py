"""What functions cost the caller, in calls that were made by hand."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from declared import assert_declared
from synthetic_call import SyntheticCall, TurnTruth

from callerside.marks import Mark
from callerside.reports.evidence import CallEvidence
from callerside.reports.metrics.metrics import Measured, measure

NS_PER_MS = 1_000_000


def agents(at_ns: int, name: str, /, **fields: object) -> Mark:
    assert_declared("agent", name, fields)
    return Mark(at_ns=at_ns, source="agent", call="synthetic", name=name, fields=fields)


def begun_ns(call: CallEvidence) -> int:
    """When the server began the answer of the first turn."""
    created = call.first("realtime", "response_created")
    assert created is not None
    return created.at_ns


def run(call_id: str, called_ns: int, finished_ns: int | None) -> list[Mark]:
    ids: Mapping[str, str] = {"name": "look_up", "call_id": call_id}
    marks = [agents(called_ns, "tool_called", **ids)]
    if finished_ns is not None:
        marks.append(agents(finished_ns, "tool_finished", **ids, ok=True, took_ms=1.0))
    return marks


def measured(call: CallEvidence, *more: Mark) -> Measured:
    marks = sorted([*call.marks, *more], key=lambda mark: mark.at_ns)
    return measure(replace(call, marks=marks))


def values(told: Measured, name: str) -> list[float]:
    return [one.value for one in told.measurements if one.name == name]


@pytest.fixture(scope="module")
def call() -> CallEvidence:
    return SyntheticCall(turns=[TurnTruth(think_ms=900), TurnTruth()]).build()


def test_each_function_has_its_own_time(call: CallEvidence) -> None:
    began = begun_ns(call)
    two = [
        *run("a", began - 90 * NS_PER_MS, began - 20 * NS_PER_MS),
        *run("b", began - 90 * NS_PER_MS, began - 60 * NS_PER_MS),
    ]
    told = measured(call, *two)
    assert values(told, "tool_ms") == [30.0, 70.0]
    assert {one.turn for one in told.measurements if one.name == "tool_ms"} == {1}


def test_the_answer_counts_from_the_last_function(call: CallEvidence) -> None:
    began = begun_ns(call)
    told = measured(call, *run("a", began - 200 * NS_PER_MS, began - 50 * NS_PER_MS))
    heard_ns, turn_ms = told.turns[0].answer_ns, told.turns[0].turn_ms
    assert heard_ns is not None
    (final,) = values(told, "final_answer_ms")
    assert final == pytest.approx(turn_ms, abs=0.01), "nothing was said before it"
    (after,) = values(told, "answer_after_tools_ms")
    assert after == pytest.approx((heard_ns - began) / NS_PER_MS + 50, abs=0.01)
    (silence,) = values(told, "tool_silence_ms")
    assert silence == pytest.approx((heard_ns - began) / NS_PER_MS + 200, abs=0.01)


def test_a_turn_without_functions_has_none_of_it(call: CallEvidence) -> None:
    told = measured(call)
    for name in ("tool_ms", "final_answer_ms", "answer_after_tools_ms", "tool_silence_ms"):
        assert not values(told, name)
        (why,) = [one.reason for one in told.unmeasured if one.name == name]
        assert why == "the model called no function"


def test_what_was_said_before_the_functions_had_answered_is_not_the_answer(
    call: CallEvidence,
) -> None:
    """The first turn's response is a preamble here: nothing with sound comes behind it."""
    began = begun_ns(call)
    told = measured(call, *run("a", began + 100 * NS_PER_MS, began + 300 * NS_PER_MS))
    assert values(told, "turn_ms")
    assert values(told, "tool_ms") == [200.0]
    assert not values(told, "final_answer_ms")
    why = [one.reason for one in told.unmeasured if one.name == "final_answer_ms"]
    assert why == ["no answer came when the functions had answered"]


def test_a_call_without_turns_has_none_either() -> None:
    silent = SyntheticCall(turns=[], server=False).build()
    assert not values(measured(silent), "tool_ms")


def test_a_function_that_never_answered_leaves_no_answer_to_time(call: CallEvidence) -> None:
    told = measured(call, *run("a", begun_ns(call) - 50 * NS_PER_MS, None))
    assert not values(told, "final_answer_ms")
    (why,) = [one.reason for one in told.unmeasured if one.name == "answer_after_tools_ms"]
    assert why.startswith("a function had not answered")
