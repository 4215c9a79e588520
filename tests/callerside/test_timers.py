"""A machine's timers: at most one of each name, and none that was called off."""

import pytest

from callerside.simulator.lanes.virtual.clock import VirtualClock
from callerside.timers import TimerSet


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fired() -> list[str]:
    return []


@pytest.fixture
def timers(clock: VirtualClock, fired: list[str]) -> TimerSet[str]:
    return TimerSet[str](clock, fired.append)


def test_a_timer_fires_once_at_the_time_it_was_set_to_last(
    clock: VirtualClock, timers: TimerSet[str], fired: list[str]
) -> None:
    now_ns = clock.now_ns()
    timers.set("a", now_ns + 10)
    timers.set("b", now_ns + 20)
    timers.set("a", now_ns + 30)
    clock.run_until(now_ns + 25)
    assert fired == ["b"]
    clock.run_until(now_ns + 100)
    assert fired == ["b", "a"]


def test_what_is_called_off_does_not_fire(
    clock: VirtualClock, timers: TimerSet[str], fired: list[str]
) -> None:
    now_ns = clock.now_ns()
    for name in "abc":
        timers.set(name, now_ns + 10)
    timers.cancel("b")
    timers.cancel("never set")
    clock.run_until(now_ns + 10)
    assert fired == ["a", "c"]
    timers.cancel("a")  # it has fired
    timers.set("a", now_ns + 20)
    timers.set("b", now_ns + 20)
    timers.cancel_all()
    clock.run_until(now_ns + 100)
    assert fired == ["a", "c"]


def test_a_timer_may_be_set_again_by_what_it_fires(clock: VirtualClock) -> None:
    fired_ns: list[int] = []

    def again(name: str) -> None:
        fired_ns.append(clock.now_ns())
        if len(fired_ns) < 3:
            own.set(name, clock.now_ns() + 5)

    own = TimerSet[str](clock, again)
    start_ns = clock.now_ns()
    own.set("a", start_ns + 5)
    clock.run_until(start_ns + 100)
    assert fired_ns == [start_ns + 5, start_ns + 10, start_ns + 15]
