"""What of a time was the way that the scenario asks for, by marks that were made by hand."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from declared import assert_declared
from synthetic_call import MS, SyntheticCall, TurnTruth

from callerside.marks import Mark, Source
from callerside.reports.evidence import CallEvidence, CallInfo
from callerside.reports.metrics.measurement import Measurement
from callerside.reports.metrics.metrics import measure
from callerside.reports.metrics.server_way import ServerWay, handshake, way_of


def mark(at_ms: float, source: Source, name: str, /, **fields: object) -> Mark:
    assert_declared(source, name, fields)
    return Mark(at_ns=round(at_ms * MS), source=source, call="far", name=name, fields=fields)


def test_a_message_takes_the_ways_delay_and_what_is_more_is_somebodys_lateness() -> None:
    way = ServerWay(delay_ms=75, jitter_ms=0)
    for taken_ms in (75, 76, 200):
        trip = way.trip(0, taken_ms * MS)
        assert (trip.length_ns, trip.bound.size) == (75 * MS, 0)


@pytest.mark.parametrize(("taken_ms", "length_ms"), [(75, 75), (83, 83), (95, 95), (140, 95)])
def test_jitter_counts_as_it_was_and_never_for_more_than_it_may_be(
    taken_ms: int, length_ms: int
) -> None:
    in_memory = ServerWay(delay_ms=75, jitter_ms=20, exact=True).trip(0, taken_ms * MS)
    assert (in_memory.length_ns, in_memory.bound.size) == (length_ms * MS, 0)
    over_sockets = ServerWay(delay_ms=75, jitter_ms=20).trip(0, taken_ms * MS)
    assert over_sockets.length_ns == length_ms * MS
    assert over_sockets.bound.size == length_ms - 75, "so much may have been lateness"


def test_without_both_marks_jitter_is_known_by_its_bound() -> None:
    way = ServerWay(delay_ms=75, jitter_ms=20)
    for ends in ((None, 80 * MS), (0, None), (None, None)):
        trip = way.trip(*ends)
        assert (trip.length_ns, trip.bound.size) == (85 * MS, 10)


def connected(*, agent: bool = True) -> CallEvidence:
    """A handshake that left at 10 ms, was held for 2500, and was done at 2670."""
    marks = [
        mark(2590, "realtime", "session_opened", path="/", model="m", session="s", delay_ms=2500)
    ]
    if agent:
        marks += [
            mark(0, "agent", "call_received", called="far", caller="c", sip_call_id="x"),
            mark(10, "agent", "realtime_connecting", attempt=1),
            mark(2670, "agent", "realtime_connected"),
        ]
    return CallEvidence(
        info=CallInfo(name="far", lane="virtual", way_ms=75, way_jitter_ms=20),
        marks=sorted(marks, key=lambda one: one.at_ns),
        recording=np.zeros((0, 2), np.int16),
        rate_hz=8000,
        recording_start_ns=0,
    )


def test_a_handshake_goes_there_and_back_besides_what_the_server_holds_it() -> None:
    assert handshake(connected(), 2670 * MS).length_ns == (80 + 80) * MS
    (connect,) = (one for one in measure(connected()).measurements if one.name == "connect_ms")
    assert (connect.value, connect.own_ms) == (2670, 160)


def test_what_the_server_takes_to_have_its_script_ready_is_its_own() -> None:
    evidence = connected()
    opened = next(one for one in evidence.marks if one.name == "session_opened")
    fields = {**opened.fields, "delay_ms": 0, "prepared_ms": 170}
    marks = [
        msgspec.structs.replace(one, fields=fields) if one is opened else one
        for one in evidence.marks
    ]
    near = replace(evidence, info=CallInfo(name="near", lane="sip"), marks=marks)
    (connect,) = (one for one in measure(near).measurements if one.name == "connect_ms")
    assert (connect.value, connect.own_ms) == (2670, 170)


def test_an_agent_without_marks_has_nothing_taken_off() -> None:
    assert not way_of(connected(agent=False))


def numbers(evidence: CallEvidence) -> dict[tuple[str, int | None], Measurement]:
    return {(one.name, one.turn): one for one in measure(evidence).measurements}


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "not traced"])
def test_the_way_is_the_servers_part_of_a_turn(*, traced: bool) -> None:
    """Of its 2 ms from the append to the server and 3 back, the way took 1 each."""
    near = SyntheticCall(turns=[TurnTruth()], traced=traced).build()
    far = replace(near, info=near.info.model_copy(update={"way_ms": 1.0}))
    before, after = numbers(near), numbers(far)
    own_ms = before["turn_ms", 1].own_ms
    assert own_ms is not None
    assert after["turn_ms", 1].value == before["turn_ms", 1].value
    assert after["turn_ms", 1].own_ms == pytest.approx(own_ms + 2)
    overhead_ms = before["agent_overhead_ms", 1].value
    assert after["agent_overhead_ms", 1].value == pytest.approx(overhead_ms - 2)
    uplink_ms = before["uplink_ms", 1].value
    assert after["uplink_ms", 1].value == pytest.approx(uplink_ms - (0 if traced else 1))
    (turn,) = measure(far).turns
    assert sum(hop.length_ms for hop in turn.hops) == pytest.approx(turn.turn_ms)
    ways = {hop.name: hop.length_ms for hop in turn.hops if "way" in hop.name}
    assert ways == ({"way to the model": 1, "way back": 1} if traced else {"way back": 1})


def test_the_bound_grows_by_the_jitter_that_may_have_been_lateness() -> None:
    near = SyntheticCall(turns=[TurnTruth()]).build()
    jitter = {"way_ms": 1.0, "way_jitter_ms": 20.0}
    far = replace(near, info=near.info.model_copy(update=jitter))
    before, after = (numbers(one)["agent_overhead_ms", 1] for one in (near, far))
    assert before.bound is not None
    assert after.bound is not None
    assert after.value == pytest.approx(before.value - 2 - 3)
    assert after.bound.size == pytest.approx(before.bound.size + 1 + 2)


def test_what_was_under_way_when_the_caller_was_done_is_no_answer() -> None:
    """A greeting of a server that is far away, sent before and taken afterwards."""
    call = SyntheticCall(turns=[TurnTruth()]).build()
    ended = call.first("caller", "utterance_ended")
    assert ended is not None
    of = {"response": "resp_greeting", "item": "item_greeting"}
    sent = {"samples": 1, "total_samples": 1}
    under_way = [
        mark(ended.at_ns / MS - 40, "realtime", "delta_sent", **of, **sent),
        mark(ended.at_ns / MS + 60, "agent", "first_delta", **of),
    ]
    marks = sorted([*call.marks, *under_way], key=lambda one: one.at_ns)
    (turn,) = measure(replace(call, marks=marks)).turns
    assert turn.response == "resp_1"
