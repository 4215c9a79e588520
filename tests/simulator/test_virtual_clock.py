import pytest

from simulator.virtual_clock import VirtualClock, VirtualTimeError


def test_time_stands_at_the_callback_that_runs() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    for when_ns in (30, 10, 20):
        clock.call_at(when_ns, lambda: seen.append(clock.now_ns()))
    assert clock.run_until(25) == 2
    assert seen == [10, 20]
    assert clock.now_ns() == 25
    assert clock.run_until(30) == 1
    assert seen == [10, 20, 30]


def test_time_that_has_passed_is_not_passed_again() -> None:
    clock = VirtualClock(start_ns=100)
    clock.run_until(50)
    assert clock.now_ns() == 100


def test_runs_until_it_is_stopped_and_no_further() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    for when_ns in range(10):
        clock.call_at(when_ns, lambda: seen.append(clock.now_ns()))
    clock.call_at(3, clock.stop)
    assert clock.run(100)
    assert seen == [0, 1, 2, 3]
    assert clock.now_ns() == 3
    assert not clock.run(100)
    assert len(seen) == 10


def test_what_is_due_after_the_bound_waits() -> None:
    clock = VirtualClock()
    clock.call_at(101, clock.stop)
    assert not clock.run(100)
    assert clock.run(101)


def test_a_timer_that_has_fired_can_be_used_again() -> None:
    clock = VirtualClock()
    seen: list[int] = []
    timer = clock.call_at(5, lambda: seen.append(clock.now_ns()))
    clock.run_until(6)
    clock.again_at(9, timer, lambda: seen.append(-clock.now_ns()))
    clock.run_until(10)
    clock.again_at(11, timer, lambda: seen.append(clock.now_ns()))
    timer.cancel()
    clock.run_until(20)
    assert seen == [5, -9]


def test_a_callback_that_asks_for_itself_for_ever_is_an_error() -> None:
    clock = VirtualClock()

    def again() -> None:
        clock.call_at(clock.now_ns(), again)

    clock.call_at(7, again)
    with pytest.raises(VirtualTimeError, match="1000 callbacks have run and more are due at 7 ns"):
        clock.run_until(10, max_callbacks=1000)
