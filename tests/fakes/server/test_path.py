"""A server that is far away: every message takes its time, there and back, and order stays."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import pytest
from official import connected

from callerside.clock import ms_to_ns
from callerside.fakes.script.model import PathDelay, Script
from callerside.fakes.server.path import arriving
from callerside.fakes.server.server import FakeRealtime
from callerside.fakes.session.one_way import OneWay
from callerside.loop_clock import LoopClock


def test_messages_keep_their_order_however_late_one_is() -> None:
    way = OneWay(PathDelay(delay=75, jitter=50), random.Random(1))
    sent = [ms_to_ns(10 * number) for number in range(200)]
    arrived = [way.arrival_ns(at_ns) for at_ns in sent]
    assert arrived == sorted(arrived)
    late = [after - before for before, after in zip(sent, arrived, strict=True)]
    assert min(late) >= ms_to_ns(75)
    assert max(late) <= ms_to_ns(125)
    assert len(set(late)) > 20


async def test_messages_that_follow_one_another_are_on_their_way_together() -> None:
    async def many() -> AsyncIterator[str]:
        for number in range(100):
            yield str(number)

    clock = LoopClock(asyncio.get_running_loop())
    begun_ns = clock.now_ns()
    way = OneWay(PathDelay(delay=100), random.Random(1))
    got = [message async for message in arriving(many(), way, clock)]
    took_ns = clock.now_ns() - begun_ns
    assert got == [str(number) for number in range(100)]
    assert took_ns >= ms_to_ns(100)
    assert took_ns < ms_to_ns(100 * 100), "not one after another"


async def test_what_reading_raises_comes_behind_what_was_read() -> None:
    async def breaks() -> AsyncIterator[str]:
        yield "one"
        raise ValueError("broken")

    clock = LoopClock(asyncio.get_running_loop())
    coming = arriving(breaks(), OneWay(PathDelay(delay=5), random.Random(1)), clock)
    assert await anext(coming) == "one"
    with pytest.raises(ValueError, match="broken"):
        await anext(coming)


async def test_a_request_is_answered_a_way_there_and_back_later() -> None:
    path = PathDelay(delay=150)
    async with FakeRealtime(Script(path=path)) as server, connected(server.base_url) as client:
        begun_s = time.monotonic()
        await client.configure(instructions="Be brief.")
        assert time.monotonic() - begun_s >= 0.3
        await client.connection.response.create()
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"
