from typing import Any

import pytest

from callerside.agent.observe.turn_latency import HOPS, Turn, TurnTracker
from callerside.clock import NS_PER_MS
from callerside.marks import Mark


def mark(name: str, at_ms: int, **fields: Any) -> Mark:
    return Mark(at_ns=at_ms * NS_PER_MS, source="agent", call="c", name=name, fields=fields)


def turns_of(*marks: Mark) -> list[Turn]:
    tracker = TurnTracker()
    return [turn for each in marks if (turn := tracker.add(each)) is not None]


def test_hops_add_up_to_the_turn() -> None:
    (turn,) = turns_of(
        mark("speech_stopped", 1000, item="u1"),
        mark("committed", 1010, item="u1"),
        mark("response_created", 1030, response="r1"),
        mark("first_delta", 1500, response="r1", item="a1"),
        mark("playout_started", 1520, item="a1"),
    )
    assert turn.turn_ms == 520
    assert turn.hops_ms == {"commit": 10, "response": 20, "first_delta": 470, "playout": 20}
    assert list(turn.hops_ms) == list(HOPS)


def test_the_tail_of_an_older_answer_is_not_taken_for_this_one() -> None:
    (turn,) = turns_of(
        mark("speech_stopped", 1000, item="u1"),
        mark("committed", 1010, item="u1"),
        mark("playout_started", 1015, item="old"),
        mark("response_created", 1030, response="r1"),
        mark("playout_started", 1100, item="old"),
        mark("first_delta", 1500, response="r1", item="a1"),
        mark("playout_started", 1510, item="old"),
        mark("playout_started", 1520, item="a1"),
    )
    assert turn.turn_ms == 520


def test_a_server_that_never_says_committed_answers_all_the_same() -> None:
    (turn,) = turns_of(
        mark("speech_stopped", 1000, item="u1"),
        mark("response_created", 1030, response="r1"),
        mark("committed", 1040, item="u1"),
        mark("first_delta", 1500, response="r1", item="a1"),
        mark("playout_started", 1520, item="a1"),
    )
    assert turn.turn_ms == 520
    assert turn.hops_ms == {"response": 30, "first_delta": 470, "playout": 20}


def test_a_late_first_delta_of_an_older_response_is_not_this_turns() -> None:
    (turn,) = turns_of(
        mark("speech_stopped", 1000, item="u1"),
        mark("first_delta", 1005, response="r0", item="old"),
        mark("playout_started", 1010, item="old"),
        mark("call_ended", 1100),
    )
    assert turn.turn_ms is None


def test_a_caller_who_goes_on_begins_a_new_turn() -> None:
    first, second = turns_of(
        mark("speech_stopped", 1000, item="u1"),
        mark("committed", 1010, item="u1"),
        mark("speech_started", 1050, item="u2"),
        mark("speech_stopped", 2000, item="u2"),
        mark("committed", 2001, item="u2"),
        mark("response_created", 2002, response="r"),
        mark("first_delta", 2003, item="a"),
        mark("playout_started", 2004, item="a"),
    )
    assert first.turn_ms is None
    assert first.hops_ms == {"commit": 10}
    assert second.turn_ms == 4


def test_a_turn_that_the_call_did_not_outlive_is_unanswered() -> None:
    (turn,) = turns_of(mark("speech_stopped", 1000, item="u1"), mark("call_ended", 1500))
    assert turn.turn_ms is None
    assert turn.hops_ms == {}


@pytest.mark.parametrize("name", ["playout_started", "committed", "call_ended"])
def test_nothing_is_measured_without_speech(name: str) -> None:
    assert turns_of(mark(name, 1000, item="a")) == []
