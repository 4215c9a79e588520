"""Few marks tell of many stalls, and each is read again as it was."""

import random
from dataclasses import replace

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.mark_registry import complaint
from callerside.reports.metrics.machine_stalls import DISTORTS_MS, each_stall
from callerside.simulator.lanes.sip.stall import Stall
from callerside.simulator.lanes.sip.stall_marks import marks_of

SECONDS = 20


def busy() -> list[Stall]:
    """What is told of a machine whose processors others want all the while: a wait every 8 ms."""
    rng = random.Random(7)
    kinds = [
        Stall(0, 0.0, process="agent1", sure=True),
        Stall(0, 0.0, process="caller1", sure=True),
        Stall(0, 0.0, cpu=0, cpus=2),
    ]
    return [
        replace(
            rng.choice(kinds),
            at_ns=number * 8 * NS_PER_MS + rng.randrange(NS_PER_MS) // 1000 * 1000,
            late_ms=round(rng.uniform(1, 3 if number % 50 else 40), 3),
            within_ms=round(rng.uniform(0, 20), 3),
        )
        for number in range(SECONDS * 125)
    ]


def test_each_stall_is_read_as_it_was_told() -> None:
    told = busy()
    read = [
        Stall(mark.at_ns, **{key: mark.fields[key] for key in mark.fields if key != "before"})
        for mark in each_stall(marks_of(told, "x"))
    ]
    assert sorted(read, key=str) == sorted(told, key=str)


def test_there_are_few_marks_and_the_long_ones_have_their_own() -> None:
    told = busy()
    marks = marks_of(told, "x")
    long = [one.at_ns for one in told if one.late_ms >= DISTORTS_MS]
    assert {mark.at_ns for mark in marks} >= set(long)
    assert len(marks) <= len(long) + 3 * (SECONDS + 1)
    assert marks == sorted(marks, key=lambda mark: mark.at_ns)
    size = sum(len(mark.to_json()) for mark in marks)
    assert size < 30 * len(told), "a mark each is 160 bytes"
    assert not any(complaint("caller", mark.name, mark.fields) for mark in marks)


def test_one_alone_is_a_plain_mark() -> None:
    (mark,) = marks_of([Stall(5 * NS_PER_S, 4.0, cpu=1, cpus=2)], "x")
    assert dict(mark.fields) == {
        "late_ms": 4.0, "cpu": 1, "process": "", "within_ms": 0.0, "sure": False, "cpus": 2,
    }  # fmt: skip
