"""What every `callerside.clock.Clock` must do, on the wall clock and on the virtual one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from callerside.clock import NS_PER_MS, Clock
from callerside.loop_clock import LoopClock
from callerside.simulator.lanes.virtual.clock import VirtualClock

TICK_NS = 2 * NS_PER_MS
"""Long enough to tell two instants apart on the wall clock of a loaded machine's event loop."""


@dataclass
class Bench:
    """A clock, and a way to let its time pass."""

    clock: Clock
    pass_time: Callable[[int], Awaitable[None]]


@pytest.fixture(params=["loop", "virtual"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if request.param == "loop":

        async def sleep(duration_ns: int) -> None:
            await asyncio.sleep(duration_ns / 1e9)
            await asyncio.sleep(TICK_NS / 1e9)  # a loaded machine runs what is due late

        loop_clock = LoopClock(asyncio.get_running_loop())
        yield Bench(loop_clock, sleep)
    else:

        async def jump(duration_ns: int) -> None:
            virtual_clock.run_until(virtual_clock.now_ns() + duration_ns)

        virtual_clock = VirtualClock(start_ns=12_345)
        yield Bench(virtual_clock, jump)


async def test_calls_back_not_before_its_time(bench: Bench) -> None:
    called_at: list[int] = []
    when_ns = bench.clock.now_ns() + TICK_NS
    bench.clock.call_at(when_ns, lambda: called_at.append(bench.clock.now_ns()))
    assert called_at == []
    await bench.pass_time(2 * TICK_NS)
    assert len(called_at) == 1
    assert called_at[0] >= when_ns


async def test_runs_in_the_order_of_time_whatever_the_order_of_asking(bench: Bench) -> None:
    order: list[int] = []
    start_ns = bench.clock.now_ns() + 20 * TICK_NS  # none may be overdue when it is asked for
    for place in (2, 0, 3, 1):
        bench.clock.call_at(start_ns + place * TICK_NS, lambda place=place: order.append(place))  # type: ignore[misc]
    await bench.pass_time(25 * TICK_NS)
    assert order == [0, 1, 2, 3]


async def test_runs_ties_in_the_order_of_asking(bench: Bench) -> None:
    order: list[int] = []
    when_ns = bench.clock.now_ns() + TICK_NS
    for place in range(50):
        bench.clock.call_at(when_ns, lambda place=place: order.append(place))  # type: ignore[misc]
    await bench.pass_time(2 * TICK_NS)
    assert order == list(range(50))


async def test_what_is_overdue_runs_soon_but_never_within_the_call(bench: Bench) -> None:
    order: list[str] = []
    bench.clock.call_at(bench.clock.now_ns() - 5 * TICK_NS, lambda: order.append("first"))
    bench.clock.call_at(bench.clock.now_ns() - 9 * TICK_NS, lambda: order.append("second"))
    assert order == []
    await bench.pass_time(TICK_NS)
    assert order == ["first", "second"]


async def test_a_callback_may_ask_for_another_at_its_own_instant(bench: Bench) -> None:
    order: list[str] = []
    when_ns = bench.clock.now_ns() + TICK_NS

    def first() -> None:
        bench.clock.call_at(when_ns, lambda: order.append("asked for last"))
        order.append("first")

    bench.clock.call_at(when_ns, first)
    bench.clock.call_at(when_ns, lambda: order.append("second"))
    await bench.pass_time(3 * TICK_NS)
    assert order == ["first", "second", "asked for last"]


async def test_a_cancelled_timer_does_not_fire(bench: Bench) -> None:
    fired: list[str] = []
    when_ns = bench.clock.now_ns() + TICK_NS
    cancelled = bench.clock.call_at(when_ns, lambda: fired.append("cancelled"))
    bench.clock.call_at(when_ns, lambda: fired.append("kept"))
    cancelled.cancel()
    cancelled.cancel()
    await bench.pass_time(2 * TICK_NS)
    assert fired == ["kept"]


async def test_a_timer_can_be_cancelled_by_another_of_the_same_instant(bench: Bench) -> None:
    fired: list[str] = []
    when_ns = bench.clock.now_ns() + TICK_NS
    bench.clock.call_at(when_ns, lambda: late.cancel())
    late = bench.clock.call_at(when_ns, lambda: fired.append("late"))
    await bench.pass_time(2 * TICK_NS)
    assert fired == []


async def test_cancelling_what_has_fired_is_harmless(bench: Bench) -> None:
    fired: list[str] = []
    timer = bench.clock.call_at(bench.clock.now_ns(), lambda: fired.append("once"))
    await bench.pass_time(TICK_NS)
    timer.cancel()
    await bench.pass_time(TICK_NS)
    assert fired == ["once"]


async def test_never_goes_backwards(bench: Bench) -> None:
    seen = [bench.clock.now_ns()]
    for _ in range(20):
        bench.clock.call_at(seen[-1] + 1000, lambda: seen.append(bench.clock.now_ns()))
        await bench.pass_time(TICK_NS // 10)
    assert seen == sorted(seen)
