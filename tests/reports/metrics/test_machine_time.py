"""What the machine took of a hop, of a turn's way, and of a value: never what the agent took."""

from dataclasses import replace
from typing import Any

import pytest
from synthetic_call import SyntheticCall, TurnTruth

from callerside.clock import ms_to_ns
from callerside.marks import Mark
from callerside.reports.metrics.machine_time import AGENT, CALLER, MachineTime, Part
from callerside.reports.metrics.measurement import ErrorBound, Measurement, Taken
from callerside.reports.metrics.metrics import measure
from callerside.reports.metrics.registry import METRICS
from callerside.reports.metrics.turn_path import Hop, hops_of
from callerside.reports.verdict.budget import judge, parse_limits
from callerside.reports.verdict.machine import (
    disturbance,
    percentiles_without_the_machines,
    without_the_machines,
)


def stall(at_ms: float, late_ms: float, **fields: Any) -> Mark:
    """One that was over by then; told surely, if not said otherwise."""
    return Mark(
        at_ns=ms_to_ns(at_ms),
        source="caller",
        call="a",
        name="machine_stalled",
        fields={"late_ms": late_ms, "cpu": -1, "sure": True, **fields},
    )


def waited(at_ms: float, late_ms: float, within_ms: float = 0.0, **fields: Any) -> Mark:
    return stall(at_ms, late_ms, within_ms=within_ms, **{"process": "agent", **fields})


def stood(at_ms: float, late_ms: float, cpu: int) -> Mark:
    return stall(at_ms, late_ms, process="", cpu=cpu, cpus=2)


def hop(name: str = "agent to append", start_ms: float = 100, end_ms: float = 140) -> Hop:
    return Hop(name, ms_to_ns(start_ms), ms_to_ns(end_ms), "agent")


@pytest.mark.parametrize(
    ("marks", "taken"),
    [
        pytest.param([], (0, 0), id="a calm machine takes nothing"),
        pytest.param([waited(138, 30)], (30, 30), id="it went on when its process did"),
        pytest.param([waited(120, 15)], (0, 15), id="something else came after: who knows"),
        pytest.param([waited(110, 30)], (0, 10), id="begun before it"),
        pytest.param([waited(145, 30)], (25, 25), id="what of it lies within"),
        pytest.param(
            [waited(90, 5), waited(138, 5), waited(200, 5), waited(400, 290)],
            (30, 35),
            id="a long one that began within it and ended when others had come and gone",
        ),
        pytest.param([waited(138, 30, 50)], (18, 30), id="when it was is known to a look"),
        pytest.param([waited(138, 30, sure=False)], (0, 30), id="told without a priority"),
        pytest.param([waited(138, 30, process="caller2")], (0, 0), id="no one who ends the hop"),
        pytest.param([waited(138, 30, process="agent2")], (30, 30), id="any agent of this call's"),
        pytest.param([stood(138, 30, 0)], (0, 30), id="one processor of two: it may run elsewhere"),
        pytest.param([stood(138, 30, 0), stood(136, 30, 1)], (28, 40), id="both at once"),
        pytest.param([stood(20, 30, 0), stood(20, 30, 1)], (0, 0), id="long before"),
    ],
)
def test_what_is_taken_of_a_hop(marks: list[Mark], taken: tuple[float, float]) -> None:
    assert MachineTime(marks).of_hop(hop()) == Taken(*map(float, taken))


def test_what_the_server_takes_for_itself_is_its_own_delay() -> None:
    thinks = Hop("server thinks", ms_to_ns(100), ms_to_ns(140), "server")
    waits = [waited(138, 30, process="fake-realtime"), stood(138, 30, 0)]
    assert not MachineTime(waits).of_hop(thinks)


def test_a_way_of_which_no_instant_is_known_is_taken_from_by_anyone_and_surely_by_nobody() -> None:
    whole = Hop("mouth to ear", ms_to_ns(100), ms_to_ns(140), None)
    assert MachineTime([waited(138, 12, process="caller")]).of_hop(whole) == Taken(0.0, 12.0)


def way(gap_ms: float) -> list[Hop]:
    """0 to 10 up to the append; the server answers at 500; 505 read; played `gap_ms` later."""
    at = {"heard": 2, "appended": 10, "received": 11, "delta_sent": 500, "delta_received": 535}
    instants = {name: ms_to_ns(ms) for name, ms in at.items()}
    instants["playout_started"] = ms_to_ns(535 + gap_ms)
    return hops_of(0, instants, ms_to_ns(540 + gap_ms))


@pytest.mark.parametrize(
    ("late_ms", "gap_ms", "taken"),
    [
        pytest.param(30, 12, (20, 40), id="one packet surely, a second one if it was close"),
        pytest.param(30, 4, (20, 20), id="with less to spare a second one could not be"),
        pytest.param(8, 4, (0, 0), id="the packet would have been the same"),
        pytest.param(8, 15, (0, 20), id="or one earlier"),
        pytest.param(8, 300, (0, 20), id="what the agent itself waits is not multiplied"),
    ],
)
def test_what_is_ready_late_is_played_late_by_whole_packets(
    late_ms: float, gap_ms: float, taken: tuple[float, float]
) -> None:
    machine = MachineTime([waited(534, late_ms)])
    assert machine.of_way(way(gap_ms)) == Taken(*map(float, taken))


def part(end_ms: float, owner: str | None = None, **how: bool) -> Part:
    return Part(ms_to_ns(end_ms), owner, **how)


@pytest.mark.parametrize(
    ("marks", "parts", "taken"),
    [
        pytest.param([waited(138, 30)], [part(140, AGENT)], (30, 30), id="it ends the only part"),
        pytest.param(
            [waited(118, 15), waited(138, 10, process="caller")],
            [part(140, CALLER), part(120, AGENT)],
            (25, 25),
            id="each ends a part of its own, in whatever order they are told",
        ),
        pytest.param(
            [waited(118, 15)], [part(140, CALLER)], (0, 0), id="the end waits for another"
        ),
        pytest.param(
            [waited(118, 15)], [part(130, AGENT), part(140, CALLER)], (0, 15), id="beside something"
        ),
        pytest.param([waited(118, 15)], [part(140, AGENT, paced=True)], (0, 0), id="made up for"),
        pytest.param([waited(139, 15)], [part(140, AGENT, paced=True)], (15, 15), id="at its end"),
        pytest.param([waited(138, 15)], [part(140, AGENT, aside=True)], (0, 0), id="server's own"),
        pytest.param([waited(138, 15)], [part(90, AGENT)], (0, 0), id="over before it begins"),
    ],
)
def test_what_is_taken_of_a_time_in_parts(
    marks: list[Mark], parts: list[Part], taken: tuple[float, float]
) -> None:
    assert MachineTime(marks).of_time(ms_to_ns(100), parts) == Taken(*map(float, taken))


@pytest.mark.parametrize(
    ("marks", "left_ms", "taken"),
    [
        pytest.param(
            [waited(128, 25)], 145, (20, 40), id="by whole packets, one more as it was close"
        ),
        pytest.param(
            [waited(128, 25)], 131, (20, 20), id="none more where there was less to spare"
        ),
        pytest.param([waited(128, 25)], None, (20, 40), id="nobody knows when its packet left"),
        pytest.param([waited(158, 12, process="caller")], 145, (0, 12), id="on its way to the ear"),
        pytest.param([], 145, (0, 0), id="a calm machine takes nothing"),
    ],
)
def test_what_is_taken_until_something_sounds(
    marks: list[Mark], left_ms: float | None, taken: tuple[float, float]
) -> None:
    found = MachineTime(marks).of_sound(
        ms_to_ns(100),
        [part(130, AGENT)],
        ms_to_ns(160),
        None if left_ms is None else ms_to_ns(left_ms),
    )
    assert found == Taken(*map(float, taken))


ALL_OVER = {"rtp_jitter_ms", "ear_late_ms", "echo_delay_ms"}
"""Of all packets of a call, with no place in it."""


def test_of_every_time_it_is_told_what_the_machine_took_or_where_it_lies() -> None:
    """Or what the machine did anywhere in a call would excuse whatever is wrong with it."""
    call = SyntheticCall(turns=[TurnTruth(), TurnTruth(barge_in_after_ms=600), TurnTruth()])
    found = [one for one in measure(call.build()).measurements if METRICS[one.name].unit == "ms"]
    assert {"beep_ms", "greeting_ms", "barge_in_stop_ms", "dead_air_ms", "gap_ms"} <= {
        one.name for one in found
    }
    nowhere = {one.name for one in found if one.taken is None and one.span_ns is None}
    assert nowhere <= ALL_OVER | {
        name for name, metric in METRICS.items() if not metric.of_the_agent
    }


@pytest.mark.parametrize(
    ("name", "process", "before_ms"),
    [
        pytest.param("answer_ms", "caller", 0, id="answer"),
        pytest.param("media_ready_ms", "agent", 0, id="media"),
        pytest.param("connect_ms", "agent", 0, id="connection"),
        pytest.param("ready_ms", "agent", 0, id="ready"),
    ],
)
def test_what_made_a_mark_late_is_off_the_time_that_it_ends(
    name: str, process: str, before_ms: float
) -> None:
    call = SyntheticCall().build()
    (calm,) = [one for one in measure(call).measurements if one.name == name]
    assert calm.taken == Taken()
    assert calm.span_ns is not None
    at_ms = calm.span_ns[1] / 1e6 - before_ms
    disturbed = replace(call, marks=[*call.marks, waited(at_ms, 8, process=process)])
    (found,) = [one for one in measure(disturbed).measurements if one.name == name]
    assert found.taken == Taken(8.0, 8.0)
    other = "agent" if process == "caller" else "caller"
    beside = replace(call, marks=[*call.marks, waited(at_ms, 8, process=other)])
    (found,) = [one for one in measure(beside).measurements if one.name == name]
    assert found.taken is not None
    assert found.taken.least_ms == 0


@pytest.mark.parametrize("process", ["agent", "fake-realtime"])
def test_agent_and_server_may_have_waited_before_a_session_was_open(process: str) -> None:
    """It is the server's mark, and the agent had to connect first."""
    call = SyntheticCall().build()
    connected_mark = call.first("agent", "realtime_connected")
    assert connected_mark is not None
    at_ns = connected_mark.at_ns - ms_to_ns(5)
    opened = Mark(at_ns=at_ns, source="realtime", call="a", name="session_opened", fields={})
    marks = [*call.marks, opened, waited(at_ns / 1e6 - 1, 3, process=process)]
    found = measure(replace(call, marks=sorted(marks, key=lambda mark: mark.at_ns)))
    (connected,) = [one for one in found.measurements if one.name == "connect_ms"]
    assert connected.taken is not None
    assert (connected.taken.least_ms, round(connected.taken.most_ms)) == (0, 3)


@pytest.mark.parametrize("name", ["beep_ms", "greeting_ms", "barge_in_stop_ms", "dead_air_ms"])
def test_of_what_is_heard_it_is_told_what_the_machine_took(name: str) -> None:
    call = SyntheticCall(turns=[TurnTruth(), TurnTruth(barge_in_after_ms=600)]).build()
    calm = next(one for one in measure(call).measurements if one.name == name)
    assert calm.taken == Taken()
    assert calm.span_ns is not None
    middle_ms = sum(calm.span_ns) / 2e6
    disturbed = replace(call, marks=[*call.marks, waited(middle_ms, 8)])
    found = next(one for one in measure(disturbed).measurements if one.name == name)
    assert found.taken is not None
    assert found.taken.most_ms >= 8


def judged(value: float, taken: Taken | None, marks: list[Mark]) -> tuple[str, str | None, float]:
    measured = Measurement(
        name="agent_overhead_ms",
        value=value,
        bound=ErrorBound(1.0, "by hand"),
        taken=taken,
        span_ns=(0, ms_to_ns(1_000)),
    )
    limits = parse_limits({"agent_overhead_ms": 40})
    found = judge([measured], limits)
    (one,) = without_the_machines(found, disturbance(marks))
    assert one.as_measured == value
    return one.verdict, one.reason, one.value


@pytest.mark.parametrize(
    ("value", "taken", "verdict"),
    [
        pytest.param(70, Taken(40, 40), ("passed", None, 30), id="what remains is within"),
        pytest.param(90, Taken(40, 40), ("failed", None, 50), id="what remains is beyond"),
        pytest.param(70, Taken(0, 40), ("not measured", "machine", 70), id="it cannot be told"),
        pytest.param(90, Taken(0, 40), ("failed", None, 90), id="beyond, whatever it took"),
        pytest.param(35, Taken(0, 40), ("passed", None, 35), id="within, whatever it took"),
        pytest.param(40.5, Taken(), ("not measured", "undecided", 40.5), id="a limit too close"),
    ],
)
def test_a_limit_is_judged_on_what_remains(
    value: float, taken: Taken, verdict: tuple[str, str | None, float]
) -> None:
    """A stall somewhere in it excuses nothing more: it was told hop by hop what it took."""
    assert judged(value, taken, [stood(500, 200, 0)]) == verdict


@pytest.mark.parametrize(
    ("taken", "verdict"),
    [
        pytest.param(Taken(), "failed", id="a calm machine"),
        pytest.param(Taken(40, 40), "passed", id="what remains is within"),
        pytest.param(Taken(0, 40), "not measured", id="it cannot be told"),
        pytest.param(Taken(0, 5), "failed", id="beyond, whatever it took"),
    ],
)
def test_a_percentile_is_judged_on_what_remains(taken: Taken, verdict: str) -> None:
    """And what the machine did elsewhere in a call excuses none."""
    limits = parse_limits({"agent_overhead_ms": {"p95": 50}})
    values = judge(
        [Measurement(name="agent_overhead_ms", value=value, taken=taken) for value in (60, 70, 80)],
        limits,
    )
    stood_long = disturbance([waited(5_000, 2_000)])
    (found,) = percentiles_without_the_machines([(one, stood_long) for one in values], limits)
    assert (found.verdict, found.reason) == (
        verdict,
        "machine" if verdict == "not measured" else None,
    )


def test_of_what_is_wrong_within_a_sound_nothing_is_taken_off() -> None:
    assert judged(90, None, [waited(500, 20)]) == ("not measured", "machine", 90)
    assert judged(101, None, [waited(500, 20)]) == ("failed", None, 101)
