import asyncio
import random
import sys
from functools import partial

import pytest
import uvloop

from callerside import event_loop
from callerside.clock import NS_PER_MS
from callerside.loop_clock import LoopClock


async def loop_of_this() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def test_packets_wake_the_loop_that_costs_least() -> None:
    assert event_loop.run(loop_of_this()) is uvloop.Loop


def test_without_a_wheel_of_it_asyncios_own_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(loop_of_this()) is not uvloop.Loop


def test_its_timers_are_never_too_soon_and_keep_their_order() -> None:
    """libuv's have whole milliseconds."""

    async def fired() -> list[tuple[int, int]]:
        clock = LoopClock(asyncio.get_running_loop())
        found: list[tuple[int, int]] = []

        def note(when_ns: int) -> None:
            found.append((when_ns, clock.now_ns()))

        done = asyncio.Event()
        begin_ns = clock.now_ns() + 50 * NS_PER_MS  # none is overdue when it is asked for
        for when_ns in random.sample(range(begin_ns, begin_ns + 20 * NS_PER_MS), 200):
            clock.call_at(when_ns, partial(note, when_ns))
        clock.call_at(begin_ns + 21 * NS_PER_MS, done.set)
        await asyncio.wait_for(done.wait(), 10)
        return found

    found = event_loop.run(fired())
    assert len(found) == 200
    assert found == sorted(found)
    assert all(now_ns >= when_ns for when_ns, now_ns in found)
