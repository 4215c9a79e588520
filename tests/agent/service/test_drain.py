from callerside.agent.service.drain import (
    END_GRACE_MS,
    CallsChanged,
    Drain,
    DrainAsked,
    DrainTimerFired,
    EndCalls,
    RefuseCalls,
    SetDrainTimer,
    StopProcess,
)
from callerside.clock import ms_to_ns

LIMIT_MS = 60_000


def draining(active: int) -> Drain:
    drain = Drain(LIMIT_MS)
    drain.handle(CallsChanged(active), 0)
    assert drain.handle(DrainAsked(), 1000) == [
        RefuseCalls(),
        SetDrainTimer(1000 + ms_to_ns(LIMIT_MS)),
    ]
    return drain


def test_an_idle_process_stops_at_once() -> None:
    drain = Drain(LIMIT_MS)
    drain.handle(CallsChanged(1), 0)
    drain.handle(CallsChanged(0), 1)
    assert drain.handle(DrainAsked(), 2) == [RefuseCalls(), StopProcess(0)]


def test_calls_may_finish() -> None:
    drain = draining(2)
    assert drain.handle(CallsChanged(1), 2000) == []
    assert drain.handle(CallsChanged(0), 3000) == [StopProcess(0)]


def test_calls_that_take_too_long_are_ended() -> None:
    drain = draining(1)
    late_ns = ms_to_ns(LIMIT_MS) + 1000
    assert drain.handle(DrainTimerFired(), late_ns) == [
        SetDrainTimer(late_ns + ms_to_ns(END_GRACE_MS)),
        EndCalls(),
    ]
    assert drain.handle(CallsChanged(0), late_ns + 10) == [StopProcess(0)]


def test_calls_that_will_not_even_end_are_left_behind() -> None:
    drain = draining(3)
    drain.handle(DrainTimerFired(), 10)
    drain.handle(CallsChanged(1), 11)
    assert drain.handle(DrainTimerFired(), 20) == [StopProcess(1)]


def test_asked_twice_calls_are_ended_now_and_a_third_time_changes_nothing() -> None:
    drain = draining(1)
    assert EndCalls() in drain.handle(DrainAsked(), 2000)
    assert drain.handle(DrainAsked(), 2001) == []


def test_while_serving_calls_come_and_go() -> None:
    drain = Drain(LIMIT_MS)
    assert drain.handle(CallsChanged(4), 0) == []
    assert drain.handle(CallsChanged(0), 1) == []
    assert drain.handle(DrainTimerFired(), 2) == []


def test_after_the_end_nothing_happens() -> None:
    drain = Drain(LIMIT_MS)
    drain.handle(DrainAsked(), 0)
    assert drain.handle(CallsChanged(0), 1) == []
    assert drain.handle(DrainAsked(), 2) == []
