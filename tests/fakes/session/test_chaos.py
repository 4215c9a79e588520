"""Faults that are drawn at random: by rate and seed, of every kind, and on the timeline."""

import random

import pytest
from in_memory import Client
from pydantic import ValidationError

from callerside.fakes.script.model import Script
from callerside.fakes.session.chaos import Chaos
from callerside.fakes.session.faults import FAULTS, BaseFault, name_of, parse_fault, written

REPLY = {"say": "We open at nine on Saturday.", "pace": 2, "think_ms": 100}


def talked(chaos: float, seed: int = 7, session_number: int = 1) -> Client:
    """A client that has said three things to a session under chaos."""
    script = Script.model_validate({"replies": [REPLY] * 3, "chaos": chaos, "seed": seed})
    client = Client(script, session_number=session_number)
    for _ in range(3):
        client.say()
        client.wait(4000)
    return client


def struck(client: Client) -> list[tuple[float, str, str]]:
    return [
        (mark.at_ns, str(mark.fields["fault"]), str(mark.fields["at"]))
        for mark in client.marked("fault_applied")
    ]


def test_every_fault_may_be_drawn() -> None:
    drawn = set()
    for seed in range(400):
        chaos = Chaos(1, random.Random(seed))
        faults: list[BaseFault | None] = [chaos.of_handshake()]
        faults += [chaos.of_response(place) for place in ("greeting", "reply 1")]
        faults += [
            chaos.of_session(place) for place in ("connect", "speech 1", "turn 1", "reply 1")
        ]
        drawn |= {name_of(type(fault)) for fault in faults if fault is not None}
    assert drawn == FAULTS.keys()


def test_a_fault_is_written_as_it_is_read() -> None:
    for seed in range(400):
        chaos = Chaos(1, random.Random(seed))
        faults: list[BaseFault | None] = [chaos.of_handshake(), chaos.of_response("reply 1")]
        faults += [chaos.of_session("turn 1")]
        for fault in faults:
            assert fault is not None
            assert parse_fault(written(fault)) == fault


def test_so_many_are_drawn_as_the_rate_says() -> None:
    chaos = Chaos(0.02, random.Random(7))
    drawn = sum(chaos.of_session("turn 1") is not None for _ in range(10_000))
    assert 150 < drawn < 250


def test_a_fault_that_was_drawn_strikes_and_is_told() -> None:
    for seed in range(20):
        client = talked(1, seed)
        marks = client.marked("fault_applied")
        assert marks, seed
        for mark in marks:  # it tells all that it takes to have it again
            fault = parse_fault(str(mark.fields["drawn"]))
            assert (fault.fault, fault.at) == (mark.fields["fault"], mark.fields["at"])
        (begun,) = client.marked("chaos_begun")
        assert begun.fields == {"rate": 1, "seed": seed}


def test_the_same_seed_draws_the_same() -> None:
    once, again, other = (struck(talked(0.5, seed)) for seed in (7, 7, 8))
    assert once == again
    assert once != other


def test_the_sessions_of_a_seed_have_their_own_faults() -> None:
    firsts = [struck(talked(0.5, seed, 1)) for seed in range(5)]
    seconds = [struck(talked(0.5, seed, 2)) for seed in range(5)]
    assert firsts != seconds


def test_without_chaos_nothing_is_drawn() -> None:
    client = talked(0)
    assert not client.marked("fault_applied")
    assert not client.marked("chaos_begun")


def test_what_chaos_draws_leaves_the_rest_as_it_was() -> None:
    """Up to the first fault, the session says the same at the same times."""
    calm, wild = talked(0), talked(0.3, seed=31)
    first = wild.marked("fault_applied")[0].at_ns / 1e6
    before = [one for one in zip(wild.times_ms, wild.types, strict=True) if one[0] < first]
    assert len(before) > 20, "there is something to compare"
    assert before == list(zip(calm.times_ms, calm.types, strict=True))[: len(before)]


@pytest.mark.parametrize("rate", [-0.1, 1.1, "much"])
def test_a_rate_is_a_probability(rate: object) -> None:
    with pytest.raises(ValidationError):
        Script.model_validate({"chaos": rate})
