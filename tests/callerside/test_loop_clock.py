import asyncio

from callerside.clock import NS_PER_MS, NS_PER_S
from callerside.loop_clock import LoopClock

HOUR_NS = 3600 * NS_PER_S


async def test_a_timer_that_was_called_off_leaves_nothing_behind() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    far_ns = clock.now_ns() + HOUR_NS
    timers = [clock.call_at(far_ns + number, lambda: None) for number in range(1000)]
    for timer in timers:
        timer.cancel()
        timer.cancel()
    assert clock._instants == {}


async def test_timers_of_one_instant_are_called_off_one_by_one() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    fired: list[str] = []
    done = asyncio.Event()
    when_ns = clock.now_ns() + 5 * NS_PER_MS
    first = clock.call_at(when_ns, lambda: fired.append("first"))
    clock.call_at(when_ns, lambda: fired.append("second"))
    clock.call_at(when_ns, done.set)
    first.cancel()
    await asyncio.wait_for(done.wait(), 10)
    assert fired == ["second"]
    assert clock._instants == {}


async def test_an_instant_can_be_used_again_after_all_of_it_was_called_off() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    done = asyncio.Event()
    when_ns = clock.now_ns() + 5 * NS_PER_MS
    clock.call_at(when_ns, lambda: None).cancel()
    clock.call_at(when_ns, done.set)
    await asyncio.wait_for(done.wait(), 10)


async def test_called_off_by_another_timer_of_the_same_instant() -> None:
    clock = LoopClock(asyncio.get_running_loop())
    fired: list[str] = []
    done = asyncio.Event()
    when_ns = clock.now_ns() + 5 * NS_PER_MS
    clock.call_at(when_ns, lambda: second.cancel())
    second = clock.call_at(when_ns, lambda: fired.append("second"))
    clock.call_at(when_ns, done.set)
    await asyncio.wait_for(done.wait(), 10)
    assert fired == []
