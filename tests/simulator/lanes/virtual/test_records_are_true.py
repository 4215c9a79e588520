"""A record that says anything else than what caller, server and telephone have seen is found."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tampered_calls import BARGE_IN, broken, play

from callerside.agent.observe.call_records import CallRecords, CallSummary
from callerside.simulator.lanes.virtual.invariants import TracedCall, check
from callerside.simulator.lanes.virtual.record_invariants import records_are_true

LOOK_UP = {"name": "look_up", "arguments": {"day": "Saturday"}}
MUCH: dict[str, Any] = {
    **BARGE_IN,
    "agent": {"tools": {"stub": {"look_up": {"returns": "open", "after": 300}}}},
    "realtime": {
        "replies": [*BARGE_IN["realtime"]["replies"], {"function_call": LOOK_UP}, {"say": "Yes."}],
        "faults": [{"fault": "error", "at": "reply 2"}],
    },
    "steps": [*BARGE_IN["steps"][:-1], {"press": "12#"}, {"expect": "reply"}, "hang_up"],
}
"""A barge-in, keys, a function, an error."""


@pytest.fixture(scope="module")
def good() -> TracedCall:
    return play(MUCH)


def record_of(traced: TracedCall) -> dict[str, Any]:
    written: list[dict[str, Any]] = []
    sink = CallRecords(written.append)
    for mark in traced.call.agent_marks:
        sink(mark)
    return written[0]


def other(value: Any) -> Any:
    """Something of the same kind, and not the same."""
    match value:
        case int() | float():
            return value + 1
        case dict():
            return {name: other(one) for name, one in value.items()}
        case list():
            return value[:1]
        case str() | None:
            return f"{value} "
        case _:
            raise TypeError(type(value))


def changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]) -> None:
    says = CallSummary.record

    def lies(summary: CallSummary) -> dict[str, Any]:
        record = says(summary)
        change(record)
        return record

    monkeypatch.setattr(CallSummary, "record", lies)


def test_the_record_of_a_good_call_is_true(good: TracedCall) -> None:
    assert broken(good) == set()
    record = record_of(good)
    counted = ("barge_ins", "digits_received", "tools_called", "realtime_errors")
    assert [record[name] for name in counted] == [1, 3, 1, 1]
    assert len(record["turns"]) == 2
    assert all(turn["turn_ms"] for turn in record["turns"])


FIELDS = sorted(CallSummary("call", datetime(2026, 1, 1, tzinfo=UTC), 0).record())


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_not_true_is_found(
    good: TracedCall, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, lambda record: record.update({name: other(record[name])}))
    assert check(good, {"records_are_true": records_are_true})


@pytest.mark.parametrize("hop", ["turn", "commit", "response", "first_delta", "playout"])
def test_a_hop_of_a_turn_that_is_not_true_is_found(
    good: TracedCall, hop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(record: dict[str, Any]) -> None:
        record["turns"][1][f"{hop}_ms"] += 1

    changed(monkeypatch, later)
    assert check(good, {"records_are_true": records_are_true})


@pytest.mark.parametrize("part", ["by", "status", "reason"])
def test_a_part_of_its_end_that_is_not_true_is_found(
    good: TracedCall, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(
        monkeypatch, lambda record: record["ended"].update({part: other(record["ended"][part])})
    )
    assert check(good, {"records_are_true": records_are_true})
